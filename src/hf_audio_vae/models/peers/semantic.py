"""Published codecs whose encoder also has a model of speech."""

from typing import ClassVar, Self

from torch import nn

from hf_audio_vae.models.peers.codec import PeerCodec
from hf_audio_vae.models.peers.network import PeerEncoder


class SemanticEncoder(PeerEncoder):
    """An encoder with a model of speech, `semantic`, whose output is joined to that of the acoustic encoder.

    No gradient passes through the model of speech, and it does not train, as in the originals.
    """

    whole_signal = "the model of speech in its encoder attends to all of it"
    semantic: nn.Module


class SemanticCodec(PeerCodec):
    """A codec with a `SemanticEncoder`.

    Its model of speech is always in evaluation mode. Dropout and masking in training mode would make codes random.
    """

    encoder: SemanticEncoder
    unused: ClassVar[tuple[str, ...]] = ()  # modules of the original that neither encode nor decode

    def __init__(self, original: nn.Module) -> None:
        super().__init__(original)
        for module in (self.encoder.semantic, *map(original.get_submodule, self.unused)):
            module.requires_grad_(False)
        self.encoder.semantic.eval()

    def train(self, mode: bool = True) -> Self:
        """Set the mode of all modules except the model of speech."""
        super().train(mode)
        self.encoder.semantic.eval()
        return self

    def check_joined(self, acoustic: float, semantic: float) -> None:
        """Raise `ValueError` unless both encoders have as many samples per frame, counted at one rate."""
        if acoustic != semantic:
            raise ValueError(
                f"the acoustic encoder of the {self.family_name()} has {acoustic:g} samples per frame, the semantic "
                f"one {semantic:g}, so that their frames cannot be joined; change `downsampling_ratios`."
            )
