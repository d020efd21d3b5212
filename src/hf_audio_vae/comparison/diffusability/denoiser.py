"""The denoiser, which is the same network for all models, and its sampler."""

import math

import torch
from torch import Tensor, nn

from hf_audio_vae.losses.diffusion import RectifiedFlow
from hf_audio_vae.modules.convnext import ChannelNorm, ConvNeXtBlock, PointwiseConv1d

WIDTH = 96
BLOCKS = 6
KERNEL = 7  # frames; the context of all blocks is 18 frames on each side
TIME_FEATURES = 32
FASTEST = 100.0  # radians per unit of time, of the fastest time feature

PROCESS = RectifiedFlow(logit_normal=False)  # trained at all times that are measured


class FrameDenoiser(nn.Module):
    """Predicts the velocity of rectified flow from noisy latents, (batch, latent_channels, frames) -> same.

    The network consists of ConvNeXt blocks over frames. The time adds a bias per channel to the input of each block.
    The network predicts the difference from the best element-wise linear predictor. This difference is 0 at first, so
    the gain of an untrained network is 0. The first and the last layer depend on the number of latent channels. All
    other layers have the same number of parameters for all latents, and equal initial weights for equal seeds.

    Args:
        latent_channels (`int`): Channels of the latents.
        seed (`int`): Seed of the initial weights.
    """

    def __init__(self, latent_channels: int, seed: int = 0) -> None:
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.embed = nn.Sequential(nn.Linear(2 * TIME_FEATURES, WIDTH), nn.SiLU())
            self.shifts = nn.ModuleList(nn.Linear(WIDTH, WIDTH) for _ in range(BLOCKS))
            self.blocks = nn.ModuleList(ConvNeXtBlock(WIDTH, kernel_size=KERNEL) for _ in range(BLOCKS))
            self.norm = ChannelNorm(WIDTH)
            self.project_in = PointwiseConv1d(latent_channels, WIDTH)
            self.project_out = PointwiseConv1d(WIDTH, latent_channels)
        nn.init.zeros_(self.project_out.weight)
        nn.init.zeros_(self.project_out.bias)

    def forward(self, noisy: Tensor, times: Tensor, mask: Tensor | None = None) -> Tensor:
        """Predict the velocity.

        Args:
            noisy (`torch.Tensor` of shape `(batch, latent_channels, frames)`): Noisy latents.
            times (`torch.Tensor` of shape `(batch,)`): Times, from 0 (latents) to 1 (noise).
            mask (`torch.Tensor` of shape `(batch, frames)`, *optional*): Bool, True for valid frames. The prediction
                of valid frames does not depend on the other frames.
        """
        frequencies = torch.logspace(0, math.log10(FASTEST), TIME_FEATURES, device=times.device)
        angles = times[:, None] * frequencies
        embedding = self.embed(torch.cat([angles.sin(), angles.cos()], dim=1))
        valid = 1.0 if mask is None else mask[:, None].to(noisy.dtype)
        x = self.project_in(noisy)
        for shift, block in zip(self.shifts, self.blocks, strict=True):
            x = block((x + shift(embedding)[:, :, None]) * valid)
        return PROCESS.linear_guess(noisy, times) + self.project_out(self.norm(x))


@torch.no_grad()
def sampled(denoiser: FrameDenoiser, noise: Tensor, steps: int) -> Tensor:
    """Generate normalised latents from noise with Euler steps of equal length.

    Args:
        denoiser (`FrameDenoiser`): Trained denoiser.
        noise (`torch.Tensor` of shape `(batch, latent_channels, frames)`): Normal noise.
        steps (`int`): Number of steps.
    """
    latents = noise
    for step in range(steps, 0, -1):
        times = torch.full((len(noise),), step / steps, device=noise.device)
        latents = latents - denoiser(latents, times) / steps
    return latents
