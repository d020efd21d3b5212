"""What schedulers of different kinds have in common for a denoiser that knows times from 0, sound, to 1, noise."""

import inspect
import math

import torch
from diffusers import SchedulerMixin
from torch import Tensor


class NoiseLevels:
    """The way from noise to sound that a scheduler has been set to.

    Args:
        scheduler (`SchedulerMixin`): After its `set_timesteps`; one for flows, or one with `alphas_cumprod`.

    Raises:
        ValueError: It is of another kind, such as those that work on ``x + σ ε``, or predicts something else.
    """

    def __init__(self, scheduler: SchedulerMixin) -> None:
        self.scheduler = scheduler
        self.flows = hasattr(scheduler, "scale_noise")
        self.scales_input = hasattr(scheduler, "scale_model_input")
        if not self.flows and scheduler.config.get("prediction_type") != "v_prediction":
            raise ValueError(
                f"{type(scheduler).__name__} has the `prediction_type` {scheduler.config.get('prediction_type')!r}; "
                f"give a scheduler for flows, or one with 'v_prediction'."
            )
        # Some let the latents grow with the noise rather than give way to it; some begin with steps of another kind.
        scale, steps = getattr(scheduler, "init_noise_sigma", 1.0), len(scheduler.timesteps)
        expected = scheduler.order * (scheduler.num_inference_steps - 1) + 1
        if scale != 1 or steps != expected or not (self.flows or hasattr(scheduler, "alphas_cumprod")):
            raise ValueError(
                f"{type(scheduler).__name__} goes another way from noise to sound than denoisers are trained on here; "
                f"use FlowMatchEulerDiscreteScheduler, or for v DDIMScheduler or DPMSolverMultistepScheduler."
            )
        # Where noise is added on the way, it comes from the caller's generator.
        self.takes_generator = "generator" in inspect.signature(scheduler.step).parameters

    def timesteps(self, strength: float) -> Tensor:
        """Return the last part of the scheduler's timesteps: all at a `strength` of 1, at least one."""
        steps = self.scheduler.num_inference_steps
        first = (steps - max(math.ceil(strength * steps), 1)) * self.scheduler.order
        return self.scheduler.timesteps[first:]

    def time(self, timestep: Tensor) -> Tensor:
        """Return how noisy a timestep is, a scalar from 0 to 1, as the denoiser was told in training."""
        if self.flows:
            return timestep / self.scheduler.config.num_train_timesteps
        signal = self.scheduler.alphas_cumprod.to(timestep.device)[timestep.long()]
        return torch.atan2((1 - signal).sqrt(), signal.sqrt()) * (2 / math.pi)

    def noisy(self, latents: Tensor, noise: Tensor, timestep: Tensor | None) -> Tensor:
        """Return latents with as much noise as there is at a timestep, with none if it is `None`."""
        if timestep is None:
            return latents
        time = self.time(timestep).to(latents)
        if self.flows:
            return (1 - time) * latents + time * noise
        angle = time * (math.pi / 2)
        return angle.cos() * latents + angle.sin() * noise

    def start(self, latents: Tensor | None, noise: Tensor, timestep: Tensor) -> Tensor:
        """Return what the first of the timesteps starts from: noise, with latents in it if there are some."""
        return noise if latents is None else self.noisy(latents, noise, timestep)

    def step(
        self,
        told: Tensor,
        timestep: Tensor,
        latents: Tensor,
        generator: torch.Generator | list[torch.Generator] | None,
    ) -> Tensor:
        """Go one step of the way; (batch, latent_channels, frames) -> same."""
        options = {"generator": generator} if self.takes_generator else {}
        return self.scheduler.step(told, timestep, latents, return_dict=False, **options)[0]
