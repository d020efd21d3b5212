from dataclasses import dataclass, field

from torch import Tensor


@dataclass(frozen=True)
class QuantizerOutput:
    """What every quantizer returns.

    Args:
        quantized (`torch.Tensor` of shape `(batch, channels, frames)`): Its gradient goes on to the latents. In
            evaluation mode it is exactly what the codes decode to; in training, codebooks may drop out, and move.
        codes (`torch.Tensor` of shape `(batch, num_codebooks, frames)`): Indices into the codebooks, int64.
        losses (`dict[str, torch.Tensor]`): Scalars, unweighted: `"commitment"`, and `"codebook"` where the gradient
            teaches the codebooks. Squared differences, averaged over dimensions and frames, summed over codebooks.
    """

    quantized: Tensor
    codes: Tensor
    losses: dict[str, Tensor] = field(default_factory=dict)
