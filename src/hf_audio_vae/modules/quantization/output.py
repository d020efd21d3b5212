from dataclasses import dataclass, field

from torch import Tensor


@dataclass(frozen=True)
class QuantizerOutput:
    """Output of a quantizer.

    Args:
        quantized (`torch.Tensor` of shape `(batch, channels, frames)`): With a gradient to the latents. Equals
            the decoded codes in evaluation mode; in training, codebooks may be dropped or updated.
        codes (`torch.Tensor` of shape `(batch, num_codebooks, frames)`): Indices into the codebooks, int64.
        losses (`dict[str, torch.Tensor]`): Scalars, unweighted: `"commitment"`, for gradient learning also
            `"codebook"`. Squared differences, averaged over dimensions and frames, summed over codebooks.
    """

    quantized: Tensor
    codes: Tensor
    losses: dict[str, Tensor] = field(default_factory=dict)
