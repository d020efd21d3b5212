from dataclasses import dataclass

from torch import Tensor
from transformers.utils import ModelOutput


@dataclass
class CodecEncoderOutput(ModelOutput):
    """Output of a codec's `encode`.

    Args:
        audio_codes (`torch.Tensor` of shape `(batch, num_codebooks, frames)`): Indices into the codebooks, int64; 0
            where there is only padding.
        audio_codes_mask (`torch.Tensor` of shape `(batch, frames)`, *optional*): Bool, True where there is sound;
            `None` if no padding was marked.
        audio_scales (`torch.Tensor` of shape `(batch, 1)`, *optional*): Divisor of each waveform, in float32 at
            least, if the model normalizes; `decode` takes it.
    """

    audio_codes: Tensor | None = None
    audio_codes_mask: Tensor | None = None
    audio_scales: Tensor | None = None


@dataclass
class CodecDecoderOutput(ModelOutput):
    """Output of a codec's `decode`.

    Args:
        audio_values (`torch.Tensor` of shape `(batch, audio_channels, frames * hop_length)`): Decoded waveform.
    """

    audio_values: Tensor | None = None


@dataclass
class CodecOutput(ModelOutput):
    """Output of a codec's `forward`.

    Args:
        audio_values (`torch.Tensor` of shape `(batch, audio_channels, time)`): Reconstruction, as long as the input;
            0 where there is padding.
        audio_codes (`torch.Tensor` of shape `(batch, num_codebooks, frames)`): Codes as `encode` returns them.
        audio_codes_mask (`torch.Tensor` of shape `(batch, frames)`, *optional*): Mask as `encode` returns it.
        losses (`dict[str, torch.Tensor]`): The model's own regularisers by name, unweighted. `"commitment"` of the
            latents to their codes and, for codebooks that learn by gradient, `"codebook"`, the reverse: squared
            differences, averaged over dimensions and frames, summed over codebooks. Empty for FSQ.
    """

    audio_values: Tensor | None = None
    audio_codes: Tensor | None = None
    audio_codes_mask: Tensor | None = None
    losses: dict[str, Tensor] | None = None

    @property
    def sample(self) -> Tensor | None:
        """`audio_values`, by its name in the variational families."""
        return self.audio_values

    @property
    def reconstructions(self) -> tuple[Tensor, ...]:
        """Reconstructions that training compares with the waveform: `audio_values`."""
        return () if self.audio_values is None else (self.audio_values,)

    @property
    def regularisers(self) -> dict[str, Tensor]:
        """`losses`."""
        return self.losses or {}
