"""Two ways from latents to noise, and what a denoiser has to tell on the way.

Latents x are normalised, noise ε is standard; time runs from 0, the latents, to 1, the noise.
"""

import math
from typing import Protocol

import torch
from diffusers import DDIMScheduler, FlowMatchEulerDiscreteScheduler, SchedulerMixin
from torch import Tensor


class DiffusionProcess(Protocol):
    """A way from latents to noise."""

    def times(self, uniform: Tensor) -> Tensor:
        """Map numbers that are uniform in [0, 1) to the times to train at, same shape."""

    def noisy(self, latents: Tensor, noise: Tensor, times: Tensor) -> Tensor:
        """Return the latents as they are at times (batch,) of the way; (batch, latent_channels, frames) -> same."""

    def target(self, latents: Tensor, noise: Tensor, times: Tensor) -> Tensor:
        """Return what the denoiser has to tell, same shape."""

    def linear_guess(self, noisy: Tensor, times: Tensor) -> Tensor:
        """Return the prediction of the best element-wise linear predictor of the target, same shape."""

    def scheduler(self) -> SchedulerMixin:
        """Return a new scheduler of diffusers' that goes the way back."""


class RectifiedFlow:
    """Straight lines, ``(1 - t) x + t ε``, whose velocity ``ε - x`` is told (Liu et al., 2022, arXiv:2209.03003).

    Args:
        logit_normal (`bool`): Train at times ``sigmoid(n)``, n standard normal, which favour the middle (Esser et al.,
            2024, arXiv:2403.03206), rather than at all times alike.
    """

    def __init__(self, *, logit_normal: bool = True) -> None:
        self.logit_normal = logit_normal

    def times(self, uniform: Tensor) -> Tensor:
        if not self.logit_normal:
            return uniform
        inside = uniform.double().clamp(1e-6, 1 - 1e-6)
        return torch.special.ndtri(inside).sigmoid().to(uniform.dtype)

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
    """A quarter turn, ``cos(πt/2) x + sin(πt/2) ε``, whose direction is told (Salimans & Ho, 2022, arXiv:2202.00512).

    The direction is ``v = cos(πt/2) ε - sin(πt/2) x``; time is that of Stable Audio 1, ``t = atan(σ) 2/π``.
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
    """Mean squared error of each item over the frames it has.

    Args:
        estimate (`torch.Tensor` of shape `(batch, channels, frames)`): What was told.
        target (`torch.Tensor`, same shape): What it should have been.
        mask (`torch.Tensor` of shape `(batch, frames)`): Bool, which frames there are; at least one each.

    Returns:
        `torch.Tensor` of shape `(batch,)`: An item's error does not depend on how far it was padded.
    """
    squares = (estimate - target).square().mean(dim=1)  # (batch, frames)
    return torch.where(mask, squares, 0).sum(dim=1) / mask.sum(dim=1)


def _by_item(times: Tensor) -> Tensor:
    """(batch,) -> (batch, 1, 1)."""
    return times[:, None, None]
