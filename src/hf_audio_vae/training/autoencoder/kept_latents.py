"""Check that the training of a decoder alone leaves the latents or codes as they were."""

from collections.abc import Sequence

import torch
from torch import Tensor

from hf_audio_vae.evaluation.card_metadata import without_folders
from hf_audio_vae.models import AutoencoderModel
from hf_audio_vae.training.autoencoder.validation import Clip


class KeptLatents:
    """The latents or codes of validation clips, encoded before the training of a decoder.

    Args:
        source (`str`): Name of the pretrained model.
        model (`AutoencoderModel`): The pretrained model.
        clips (`Sequence[Clip]`): Validation clips.
    """

    def __init__(self, source: str, model: AutoencoderModel, clips: Sequence[Clip]) -> None:
        self.source, self.clips = source, clips
        self.encoded = encoded(model, clips)

    def statement(self, model: AutoencoderModel) -> str:
        """Return the line of the card of the trained model.

        Raises:
            RuntimeError: The trained model encodes a clip differently, although its encoder was frozen.
        """
        if not all(map(torch.equal, encoded(model, self.clips), self.encoded)):
            raise RuntimeError(
                f"the encoder was frozen, but it encodes the validation clips otherwise than {self.source}; do not "
                f"use this model with models of the latents of {self.source}."
            )
        source = without_folders(self.source)
        return f"unchanged from {source}: bit-equal output on {len(self.clips)} validation clips"


@torch.no_grad()
def encoded(model: AutoencoderModel, clips: Sequence[Clip]) -> list[Tensor]:
    """Return the latents or codes of clips, in evaluation mode; of a hierarchy, those of all levels in sequence."""
    was_training = model.training
    model.eval()
    outputs = [model.encode(clip.waveform[None].to(model.device)) for clip in clips]
    model.train(was_training)
    if not model.codebook_sizes:
        return [output.latent_dist.mean.cpu() for output in outputs]
    codes = [output.audio_codes for output in outputs]
    return [level.cpu() for item in codes for level in (item if model.codes_by_level else (item,))]
