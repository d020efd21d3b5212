"""Encoded clips in memory, and their normalisation."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from hf_audio_vae.latents import ChannelMoments
from hf_audio_vae.models import AutoencoderModel


@dataclass(frozen=True)
class Crops:
    """A batch of crops.

    Attributes:
        latents (`torch.Tensor` of shape `(batch, latent_channels, frames)`): Normalised latents, 0 in padding.
        mask (`torch.Tensor` of shape `(batch, frames)`): Bool, True for valid frames.
    """

    latents: Tensor
    mask: Tensor


class EncodedClips:
    """Posteriors of clips.

    Args:
        posteriors (`Iterable[tuple[torch.Tensor, torch.Tensor]]`): Mean and std of each clip, (latent_channels,
            frames), on the CPU; std is 0 for latents without noise.

    Raises:
        ValueError: There are no clips.
    """

    def __init__(self, posteriors: Iterable[tuple[Tensor, Tensor]]) -> None:
        self.posteriors = [(mean.float(), std.float()) for mean, std in posteriors]
        if not self.posteriors:
            raise ValueError("there are no clips; name a data set of sounds.")

    @property
    def frames(self) -> list[int]:
        """Length of each clip in frames."""
        return [mean.shape[1] for mean, _ in self.posteriors]

    def statistics(self) -> tuple[Tensor, Tensor]:
        """Return mean and standard deviation of each channel, (latent_channels, 1) each.

        Raises:
            ValueError: A channel is constant.
        """
        moments = ChannelMoments()
        for mean, std in self.posteriors:
            moments.add(mean, std)
        if constant := (moments.std == 0).nonzero().flatten().tolist():
            raise ValueError(f"channels {constant} of the latents are constant; compare models without such channels.")
        return moments.mean.float()[:, None], moments.std.float()[:, None]

    def normalised(self, mean: Tensor, std: Tensor) -> "EncodedClips":
        """Subtract a mean and divide by a standard deviation of each channel, (latent_channels, 1) each."""
        return EncodedClips(((m - mean) / std, s / std) for m, s in self.posteriors)

    def sample(self, index: int, generator: torch.Generator) -> Tensor:
        """Draw the latents of a clip, (latent_channels, frames)."""
        mean, std = self.posteriors[index]
        return mean + std * torch.randn(mean.shape, generator=generator)

    def crops(self, count: int, frames: int, generator: torch.Generator) -> Crops:
        """Draw crops of latents.

        Clips are drawn in proportion to their length, positions uniformly, and latents from their posteriors.

        Args:
            count (`int`): Number of crops.
            frames (`int`): Length of each crop; a shorter clip is padded.
            generator (`torch.Generator`): Random source.
        """
        lengths = torch.tensor(self.frames)
        latents, masks = [], []
        for index in torch.multinomial(lengths.double(), count, replacement=True, generator=generator).tolist():
            surplus = max(int(lengths[index]) - frames, 0)
            start = int(torch.randint(surplus + 1, (), generator=generator))
            mean, std = (part[:, start : start + frames] for part in self.posteriors[index])
            drawn = mean + std * torch.randn(mean.shape, generator=generator)
            latents.append(F.pad(drawn, (0, frames - drawn.shape[1])))
            masks.append(torch.arange(frames) < drawn.shape[1])
        return Crops(torch.stack(latents), torch.stack(masks))


@torch.no_grad()
def encoded(model: AutoencoderModel, clips: Iterable[tuple[str, Tensor]]) -> EncodedClips:
    """Encode clips that have the rate and the channels of a model.

    Args:
        model (`AutoencoderModel`): Model with latents.
        clips (`Iterable[tuple[str, torch.Tensor]]`): Name and waveform (audio_channels, time) of each clip.

    Raises:
        ValueError: There are no clips, or the latents of a clip are NaN or infinite.
    """
    posteriors = []
    for name, clip in clips:
        output: Any = model.encode(clip[None].to(model.device))
        mean, std = (part[0].float().cpu() for part in (output.latent_dist.mean, output.latent_dist.std))
        if not bool(mean.isfinite().all() and std.isfinite().all()):
            raise ValueError(f"{name}: the latents are NaN or infinite; check the weights of the model.")
        posteriors.append((mean, std))
    return EncodedClips(posteriors)
