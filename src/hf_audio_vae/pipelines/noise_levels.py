"""Common interface of schedulers for a denoiser with times from 0 (sound) to 1 (noise)."""

import inspect
import math

import torch
from diffusers import SchedulerMixin
from torch import Tensor

from hf_audio_vae.pipelines.arguments import share


class NoiseLevels:
    """Timesteps and noise levels of a scheduler.

    Args:
        scheduler (`SchedulerMixin`): Scheduler after `set_timesteps`; for flow matching, or with `alphas_cumprod`.

    Raises:
        ValueError: The scheduler is of another kind, such as one for ``x + σ ε``, or has another prediction type.
    """

    def __init__(self, scheduler: SchedulerMixin) -> None:
        self.scheduler = scheduler
        self.flows = hasattr(scheduler, "scale_noise")
        self.scales_input = hasattr(scheduler, "scale_model_input")
        if not self.flows and scheduler.config.get("prediction_type") != "v_prediction":
            raise ValueError(
                f"{type(scheduler).__name__} has the `prediction_type` {scheduler.config.get('prediction_type')!r}; "
                f"use a scheduler for flow matching, or one with 'v_prediction'."
            )
        # Some schedulers do not preserve the variance; some start with extra steps.
        scale, steps = getattr(scheduler, "init_noise_sigma", 1.0), len(scheduler.timesteps)
        expected = scheduler.order * (scheduler.num_inference_steps - 1) + 1
        if scale != 1 or steps != expected or not (self.flows or hasattr(scheduler, "alphas_cumprod")):
            raise ValueError(
                f"{type(scheduler).__name__} has another noise schedule than the denoisers are trained with; use "
                f"FlowMatchEulerDiscreteScheduler, or for v-prediction DDIMScheduler or DPMSolverMultistepScheduler."
            )
        # Stochastic schedulers draw noise from the generator of the caller.
        self.takes_generator = "generator" in inspect.signature(scheduler.step).parameters

    def timesteps(self, strength: float) -> Tensor:
        """Return the last share `strength` of the scheduler's timesteps, at least one timestep."""
        steps = self.scheduler.num_inference_steps
        first = (steps - share(strength, steps)) * self.scheduler.order
        return self.scheduler.timesteps[first:]

    def time(self, timestep: Tensor) -> Tensor:
        """Return the noise level of a timestep, a scalar from 0 to 1, as used in training."""
        if self.flows:
            return timestep / self.scheduler.config.num_train_timesteps
        signal = self.scheduler.alphas_cumprod.to(timestep.device)[timestep.long()]
        return torch.atan2((1 - signal).sqrt(), signal.sqrt()) * (2 / math.pi)

    def noisy(self, latents: Tensor, noise: Tensor, timestep: Tensor | None) -> Tensor:
        """Return latents with the noise of a timestep, without noise if it is `None`."""
        if timestep is None:
            return latents
        time = self.time(timestep).to(latents)
        if self.flows:
            return (1 - time) * latents + time * noise
        angle = time * (math.pi / 2)
        return angle.cos() * latents + angle.sin() * noise

    def start(self, latents: Tensor | None, noise: Tensor, timestep: Tensor) -> Tensor:
        """Return the start of the first timestep: noise, mixed with `latents` if they are given."""
        return noise if latents is None else self.noisy(latents, noise, timestep)

    def step(
        self,
        prediction: Tensor,
        timestep: Tensor,
        latents: Tensor,
        generator: torch.Generator | list[torch.Generator] | None,
    ) -> Tensor:
        """Take one denoising step; (batch, latent_channels, frames) -> same."""
        options = {"generator": generator} if self.takes_generator else {}
        return self.scheduler.step(prediction, timestep, latents, return_dict=False, **options)[0]
