"""Training of the denoiser, and its errors on held-out clips."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from hf_audio_vae.comparison.diffusability.denoiser import PROCESS, FrameDenoiser
from hf_audio_vae.comparison.diffusability.latents import EncodedClips
from hf_audio_vae.losses.diffusion import masked_mse

LEVELS = 10  # times of the measurement: (k + 1/2) / LEVELS
MOST_FRAMES = 20_000  # in memory at once, of a measurement
LEARNING_RATE = 2e-3
WARMUP = 0.05  # share of the steps
LONGEST_AVERAGE = 0.999  # decay of the average of the weights; it is shorter in the first steps


@dataclass(frozen=True)
class DenoisingErrors:
    """Mean squared errors of the velocity by time and channel.

    Attributes:
        denoiser (`torch.Tensor` of shape `(levels, latent_channels)`): Errors of the denoiser.
        linear (`torch.Tensor`, same shape): Errors of the best element-wise linear predictor of latents with mean 0
            and variance 1.
    """

    denoiser: Tensor
    linear: Tensor

    @property
    def gain_bits(self) -> float:
        """Denoising gain, ``1/2 log2(linear / denoiser)``, mean over times and channels, in bits a latent number.

        If both errors are Gaussian and white, half the logarithm of the ratio of their variances is the difference in
        bits between coding them at equal distortion. The expected gain on normal white noise is at most 0, since its
        best predictor is linear.
        """
        return float(0.5 * (self.linear / self.denoiser).log2().mean())

    @property
    def learnt_bits(self) -> float:
        """Learnt part of the divergence of the latents from white noise, in bits a latent number.

        The relative entropy of a distribution P of latents and normal white noise Q, in nats, is the integral
        ``1/2 ∫ mse_Q - mmse_P`` over the signal-to-noise ratio. mse_Q is the error on P of the best estimator for Q
        (Verdú, "Mismatched estimation and relative entropy", 2010, which generalises the I-MMSE relation of Guo,
        Shamai & Verdú, 2005, doi:10.1109/TIT.2005.844072). For the time and the velocity of rectified flow, the
        integral is ``∫ (1 - t)/t (linear - mmse) dt``. The error of the denoiser is at least the mmse, so the integral
        with this error is a lower bound. It is computed by the midpoint rule over `LEVELS` times.
        """
        times = measured_times().to(self.linear)[:, None]
        return float(((1 - times) / times * (self.linear - self.denoiser)).mean() / math.log(2))


def measured_times() -> Tensor:
    """Return the times of the measurement, (levels,), in float64."""
    return (torch.arange(LEVELS, dtype=torch.float64) + 0.5) / LEVELS


def trained_denoiser(
    clips: EncodedClips, *, steps: int, batch: int, frames: int, seed: int, device: torch.device | str = "cpu"
) -> FrameDenoiser:
    """Train a denoiser and return its averaged weights.

    Args:
        clips (`EncodedClips`): Normalised clips.
        steps (`int`): Steps of AdamW. The learning rate has a warm-up and then follows a cosine.
        batch (`int`): Crops per step.
        frames (`int`): Length of a crop.
        seed (`int`): Seed of the weights, the crops and the noise.
        device (`torch.device` or `str`): Device of the training.
    """
    channels = len(clips.posteriors[0][0])
    denoiser, averaged = (FrameDenoiser(channels, seed).to(device) for _ in range(2))
    optimizer = torch.optim.AdamW(denoiser.parameters(), lr=LEARNING_RATE, betas=(0.9, 0.99), weight_decay=0.01)
    generator = torch.Generator().manual_seed(seed)
    for step in range(steps):
        for group in optimizer.param_groups:
            group["lr"] = LEARNING_RATE * _learning_rate_factor(step, steps)
        crops = clips.crops(batch, frames, generator)
        noise = torch.randn(crops.latents.shape, generator=generator) * crops.mask[:, None]
        times = PROCESS.times((torch.arange(batch) + torch.rand(batch, generator=generator)) / batch)  # stratified
        latents, noise, times, mask = (part.to(device) for part in (crops.latents, noise, times, crops.mask))
        estimate = denoiser(PROCESS.noisy(latents, noise, times), times, mask)
        loss = masked_mse(estimate, PROCESS.target(latents, noise, times), mask).mean()
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(denoiser.parameters(), 1.0)
        optimizer.step()
        _average(averaged, denoiser, min(LONGEST_AVERAGE, (step + 1) / (step + 10)))
    return averaged.eval()


def _learning_rate_factor(step: int, steps: int) -> float:
    warmup = max(1, round(WARMUP * steps))
    return min(1.0, (step + 1) / warmup) * 0.5 * (1 + math.cos(math.pi * step / steps))


@torch.no_grad()
def _average(averaged: FrameDenoiser, denoiser: FrameDenoiser, decay: float) -> None:
    for mean, value in zip(averaged.parameters(), denoiser.parameters(), strict=True):
        mean.lerp_(value, 1 - decay)


@torch.no_grad()
def denoising_errors(denoiser: FrameDenoiser, clips: EncodedClips, seed: int) -> DenoisingErrors:
    """Measure the errors of a denoiser on all frames of clips at `LEVELS` times, on the device of the denoiser.

    Args:
        denoiser (`FrameDenoiser`): Trained denoiser.
        clips (`EncodedClips`): Normalised clips.
        seed (`int`): Seed of the latents and of the noise.
    """
    times = measured_times()
    device = denoiser.norm.weight.device
    generator = torch.Generator().manual_seed(seed)
    squares = torch.zeros(2, LEVELS, len(clips.posteriors[0][0]), dtype=torch.float64)
    for index, frames in enumerate(clips.frames):
        latents = clips.sample(index, generator)[None].to(device)
        for levels in torch.arange(LEVELS).split(max(1, MOST_FRAMES // frames)):
            noise = torch.randn(len(levels), *latents.shape[1:], generator=generator).to(device)
            t = times[levels].float().to(device)
            noisy, target = PROCESS.noisy(latents, noise, t), PROCESS.target(latents, noise, t)
            for predictor, estimate in enumerate((denoiser(noisy, t), PROCESS.linear_guess(noisy, t))):
                squares[predictor, levels] += (estimate - target).double().square().sum(dim=2).cpu()
    return DenoisingErrors(*(squares / sum(clips.frames)))
