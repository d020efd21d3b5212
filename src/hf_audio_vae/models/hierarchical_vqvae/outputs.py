from dataclasses import dataclass

from torch import Tensor
from transformers.utils import ModelOutput


@dataclass
class HierarchicalVQVAEEncoderOutput(ModelOutput):
    """Output of `HierarchicalVQVAE.encode`; tuples hold one tensor per level, the finest first.

    Args:
        audio_codes (`tuple[torch.Tensor, ...]`): int64, (batch, 1, frames) each, at the rate of the level.
        audio_codes_mask (`tuple[torch.Tensor, ...]`, *optional*): bool, (batch, frames) each, True for codes that
            are not padding; only if a `padding_mask` was given.
    """

    audio_codes: tuple[Tensor, ...] | None = None
    audio_codes_mask: tuple[Tensor, ...] | None = None


@dataclass
class HierarchicalVQVAEDecoderOutput(ModelOutput):
    """Output of `HierarchicalVQVAE.decode`.

    Args:
        audio_values (`torch.Tensor` of shape `(batch, audio_channels, frames * hop_length)`): Decoded waveform.
    """

    audio_values: Tensor | None = None


@dataclass
class HierarchicalVQVAEOutput(ModelOutput):
    """Output of `HierarchicalVQVAE.forward`; tuples hold one tensor per level, the finest first.

    Args:
        audio_values (`torch.Tensor` of shape `(batch, audio_channels, time)`): Reconstruction, as long as the input:
            from all levels together with `joint_decoding`, else from the finest.
        level_values (`tuple[torch.Tensor, ...]`): The reconstruction from each level alone, of the same shape.
        audio_codes (`tuple[torch.Tensor, ...]`): int64, (batch, 1, frames) each.
        audio_codes_mask (`tuple[torch.Tensor, ...]`, *optional*): bool, (batch, frames) each.
        losses (`dict[str, torch.Tensor]`): Unweighted regularisers by name. `"commitment"`: squared distance
            of latents to their codes, averaged over channels, frames and batch, summed over levels.
        reconstructions (`tuple[torch.Tensor, ...]`): Reconstructions that training compares with the waveform:
            `level_values`, and
            `audio_values` with `joint_decoding`.
    """

    audio_values: Tensor | None = None
    level_values: tuple[Tensor, ...] | None = None
    audio_codes: tuple[Tensor, ...] | None = None
    audio_codes_mask: tuple[Tensor, ...] | None = None
    losses: dict[str, Tensor] | None = None
    reconstructions: tuple[Tensor, ...] | None = None

    @property
    def sample(self) -> Tensor | None:
        """`audio_values`, by its name in other families."""
        return self.audio_values

    @property
    def regularisers(self) -> dict[str, Tensor]:
        """`losses`."""
        return self.losses or {}
