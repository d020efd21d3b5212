"""What schedulers of different kinds have in common for a denoiser that knows times from 0, sound, to 1, noise."""

import math

import torch
from diffusers import SchedulerMixin
from torch import Tensor


class NoiseLevels:
    """The way from noise to sound that a scheduler has been set to.

    Args:
        scheduler (`SchedulerMixin`): After its `set_timesteps`; one for flows, or one with `alphas_cumprod`.

    Raises:
        ValueError: It is of another kind, or predicts something else than velocities.
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
        if not self.flows and not hasattr(scheduler, "alphas_cumprod"):
            raise ValueError(
                f"{type(scheduler).__name__} has no `alphas_cumprod`, so its noise levels are not known; use "
                f"FlowMatchEulerDiscreteScheduler, DDIMScheduler or DPMSolverMultistepScheduler."
            )

    def timesteps(self, strength: float) -> Tensor:
        """Return the last part of the scheduler's timesteps: all at a `strength` of 1, at least one."""
        steps = self.scheduler.num_inference_steps
        first = (steps - max(math.ceil(strength * steps), 1)) * self.scheduler.order
        if first and hasattr(self.scheduler, "set_begin_index"):
            self.scheduler.set_begin_index(first)
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
        if latents is not None:
            return self.noisy(latents, noise, timestep)
        return noise * float(getattr(self.scheduler, "init_noise_sigma", 1.0))
