"""Diffusion processes from latents to noise, and their prediction targets.

Latents x are normalised and noise ε is standard normal; time runs from 0 (latents) to 1 (noise).
"""

import math
from typing import Protocol

import torch
from diffusers import DDIMScheduler, FlowMatchEulerDiscreteScheduler, SchedulerMixin
from torch import Tensor


class DiffusionProcess(Protocol):
    """A diffusion process from latents to noise."""

    def times(self, uniform: Tensor) -> Tensor:
        """Map uniform samples in [0, 1) to training times, same shape."""

    def noisy(self, latents: Tensor, noise: Tensor, times: Tensor) -> Tensor:
        """Return the noisy latents at times (batch,); (batch, latent_channels, frames) -> same."""

    def target(self, latents: Tensor, noise: Tensor, times: Tensor) -> Tensor:
        """Return the prediction target of the denoiser, same shape."""

    def linear_guess(self, noisy: Tensor, times: Tensor) -> Tensor:
        """Return the prediction of the best element-wise linear predictor of the target, same shape."""

    def scheduler(self) -> SchedulerMixin:
        """Return a new diffusers scheduler for sampling."""


class RectifiedFlow:
    """Straight paths ``(1 - t) x + t ε`` with the velocity ``ε - x`` as target (Liu et al., 2022, arXiv:2209.03003).

    Args:
        logit_normal (`bool`): Train at times ``sigmoid(n)``, n standard normal, which favour the middle (Esser et al.,
            2024, arXiv:2403.03206), instead of uniform times.
    """

    def __init__(self, *, logit_normal: bool = True) -> None:
        self.logit_normal = logit_normal

    def times(self, uniform: Tensor) -> Tensor:
        if not self.logit_normal:
            return uniform
        clamped = uniform.double().clamp(1e-6, 1 - 1e-6)
        return torch.special.ndtri(clamped).sigmoid().to(uniform.dtype)

    def noisy(self, latents: Tensor, noise: Tensor, times: Tensor) -> Tensor:
        t = _by_item(times)
        return (1 - t) * latents + t * noise

    def target(self, latents: Tensor, noise: Tensor, times: Tensor) -> Tensor:
        return noise - latents

    def linear_guess(self, noisy: Tensor, times: Tensor) -> Tensor:
        t = _by_item(times)
        return (2 * t - 1) / ((1 - t) ** 2 + t**2) * noisy

    def scheduler(self) -> SchedulerMixin:
        return FlowMatchEulerDiscreteScheduler()


class VPrediction:
    """Paths ``cos(πt/2) x + sin(πt/2) ε`` with v-prediction (Salimans & Ho, 2022, arXiv:2202.00512).

    The target is ``v = cos(πt/2) ε - sin(πt/2) x``; time is defined as in Stable Audio 1, ``t = atan(σ) 2/π``.
    """

    def times(self, uniform: Tensor) -> Tensor:
        return uniform

    def noisy(self, latents: Tensor, noise: Tensor, times: Tensor) -> Tensor:
        angle = _by_item(times) * (math.pi / 2)
        return angle.cos() * latents + angle.sin() * noise

    def target(self, latents: Tensor, noise: Tensor, times: Tensor) -> Tensor:
        angle = _by_item(times) * (math.pi / 2)
        return angle.cos() * noise - angle.sin() * latents

    def linear_guess(self, noisy: Tensor, times: Tensor) -> Tensor:
        return torch.zeros_like(noisy)

    def scheduler(self) -> SchedulerMixin:
        return DDIMScheduler(
            beta_schedule="squaredcos_cap_v2",
            prediction_type="v_prediction",
            rescale_betas_zero_snr=True,
            timestep_spacing="trailing",
            clip_sample=False,
        )


def masked_mse(estimate: Tensor, target: Tensor, mask: Tensor) -> Tensor:
    """Mean squared error of each item over its valid frames.

    Args:
        estimate (`torch.Tensor` of shape `(batch, channels, frames)`): Prediction.
        target (`torch.Tensor`, same shape): Target.
        mask (`torch.Tensor` of shape `(batch, frames)`): Bool, True for valid frames; at least one per item.

    Returns:
        `torch.Tensor` of shape `(batch,)`: Error of each item, independent of its padding.
    """
    squares = (estimate - target).square().mean(dim=1)  # (batch, frames)
    return torch.where(mask, squares, 0).sum(dim=1) / mask.sum(dim=1)


def _by_item(times: Tensor) -> Tensor:
    """(batch,) -> (batch, 1, 1)."""
    return times[:, None, None]
