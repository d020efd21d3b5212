"""The decoder of a mel model as a graph: it ends with the spectrogram, which any vocoder takes."""

from typing import Any

from torch import Tensor

from hf_audio_vae.models.graph_parts import GraphPart, Signal


def spectrogram_decoder_part(model: Any) -> GraphPart:
    """Return the decoder from latents to a spectrogram with one channel per audio channel and bin."""
    layout = model.layout
    channels = layout.spectrogram_channels * layout.bins

    def decode(latents: Tensor) -> tuple[Tensor, ...]:
        return (model.decode_to_spectrogram(latents).flatten(1, 2),)

    return GraphPart(
        [model.decoder],
        decode,
        inputs={"latents": Signal(model.latent_channels, "frames")},
        outputs={"spectrogram": Signal(channels, "frames", rate=layout.frames_per_latent)},
        facts={
            "description": "Takes latents as the encoder returns them: undo a normalisation by `latents_mean` first. "
            "Returns the natural logarithm of mel magnitudes, ordered by audio channel; a vocoder makes them audible.",
            "mel_bins": layout.bins,
            "mel_hop_length": layout.spectrogram_hop_length,
        },
    )
