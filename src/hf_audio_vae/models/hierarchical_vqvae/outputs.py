from dataclasses import dataclass

from torch import Tensor
from transformers.utils import ModelOutput


@dataclass
class HierarchicalVQVAEEncoderOutput(ModelOutput):
    """Output of `HierarchicalVQVAE.encode`; tuples hold one tensor a level, the finest first.

    Args:
        audio_codes (`tuple[torch.Tensor, ...]`): int64, (batch, 1, frames) each, in the rate of the level.
        audio_codes_mask (`tuple[torch.Tensor, ...]`, *optional*): bool, (batch, frames) each: which codes are an
            item's own; only if a `padding_mask` was given.
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
    """Output of `HierarchicalVQVAE.forward`; tuples hold one tensor a level, the finest first.

    Args:
        audio_values (`torch.Tensor` of shape `(batch, audio_channels, time)`): Reconstruction, as long as the input:
            of all levels together if the configuration says `joint_decoding`, else of the finest.
        level_values (`tuple[torch.Tensor, ...]`): The reconstruction from each level alone, of the same shape.
        audio_codes (`tuple[torch.Tensor, ...]`): int64, (batch, 1, frames) each.
        audio_codes_mask (`tuple[torch.Tensor, ...]`, *optional*): bool, (batch, frames) each.
        losses (`dict[str, torch.Tensor]`): Regularisers by name, before any weight. `"commitment"`: squared distance
            of latents to their codes, averaged over channels, frames and batch, summed over levels.
        reconstructions (`tuple[torch.Tensor, ...]`): What training compares with the waveform: `level_values`, and
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
        """`audio_values`, by the name that other families have for it."""
        return self.audio_values

    @property
    def regularisers(self) -> dict[str, Tensor]:
        """`losses`."""
        return self.losses or {}
