from dataclasses import dataclass

from diffusers.utils import BaseOutput
from torch import Tensor


@dataclass
class DiscriminatorOutput(BaseOutput):
    """Output of a discriminator.

    Args:
        logits (`list[torch.Tensor]`): One score map for each sub-discriminator, (batch, 1, ...): high where the sound
            is classified as real.
        feature_maps (`list[list[torch.Tensor]]`): For each sub-discriminator, the output of every hidden layer,
            (batch, channels, ...), in order.
    """

    logits: list[Tensor] | None = None
    feature_maps: list[list[Tensor]] | None = None
