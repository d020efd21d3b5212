"""Formats of other classes that families of this package read and write with equal weights."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKLLTX2Audio, AutoencoderOobleck, MMAudioVAE, ModelMixin
from transformers import DacFeatureExtractor, DacModel, EncodecFeatureExtractor, EncodecModel

from hf_audio_vae.files.loading import load_checked
from hf_audio_vae.models.autoencoder import AudioAutoencoderMixin
from hf_audio_vae.models.spectrogram_vae.convert_ltx2_audio import from_ltx2_audio, to_ltx2_audio
from hf_audio_vae.models.spectrogram_vae.convert_mmaudio import from_mmaudio, to_mmaudio
from hf_audio_vae.models.waveform_vae.convert_waveform_vae import to_oobleck
from hf_audio_vae.models.waveform_vae.modeling_waveform_vae import WaveformVAE
from hf_audio_vae.models.waveform_vqvae.convert_dac import from_dac, to_dac
from hf_audio_vae.models.waveform_vqvae.convert_encodec import from_encodec, to_encodec


@dataclass(frozen=True)
class PublishedFormat:
    """A class whose folders a family reads; a model that was read from one is published as one again.

    Args:
        original_class (`type`): The class.
        read (`Callable`): Loads a model; takes the arguments of `AudioAutoencoderMixin.load`.
        write (`Callable`): Returns the objects to save, each with `save_pretrained`.
    """

    original_class: Any
    read: Callable[..., AudioAutoencoderMixin]
    write: Callable[[Any], Sequence[Any]]

    def load(self, name: str, **location: Any) -> AudioAutoencoderMixin:
        """Load a model that is published in this format; raises as `AudioAutoencoderMixin.load`."""
        model = self.read(name, **location)
        model.published_format = self
        return model

    def expresses(self, model: AudioAutoencoderMixin) -> bool:
        """Return whether the class can express a model; an Oobleck with odd strides, which it reads, it cannot."""
        try:
            self.write(model)
        except ValueError:
            return False
        return True

    def save(self, model: AudioAutoencoderMixin, folder: Path) -> None:
        """Write a folder of the original class.

        Raises:
            ValueError: The class cannot express the model.
        """
        for part in self.write(model):
            part.save_pretrained(folder)


def converted(original_class: Any, convert: Callable[[Any], AudioAutoencoderMixin]) -> Callable[..., Any]:
    """Return a function that loads a model of another class and converts it."""

    def load(
        name: str,
        *,
        subfolder: str | None = None,
        revision: str | None = None,
        variant: str | None = None,
        dtype: torch.dtype | str | None = None,
    ) -> AudioAutoencoderMixin:
        options: dict[str, Any] = {"subfolder": subfolder or "", "revision": revision, "variant": variant}
        options["torch_dtype" if issubclass(original_class, ModelMixin) else "dtype"] = dtype or torch.float32
        given = {key: value for key, value in options.items() if value is not None}
        return convert(load_checked(original_class, name, **given))

    return load


def dac_folder(model: Any) -> tuple[Any, ...]:
    """Return a `DacModel` and its feature extractor."""
    return to_dac(model), DacFeatureExtractor(
        feature_size=model.config.audio_channels, sampling_rate=model.sampling_rate, hop_length=model.hop_length
    )


def encodec_folder(model: Any) -> tuple[Any, ...]:
    """Return an `EncodecModel` and its feature extractor."""
    encodec = to_encodec(model)
    return encodec, EncodecFeatureExtractor(
        feature_size=model.config.audio_channels,
        sampling_rate=model.sampling_rate,
        chunk_length_s=encodec.config.chunk_length_s,
        overlap=encodec.config.overlap,
    )


def oobleck_folder(model: Any) -> tuple[Any]:
    """Return an `AutoencoderOobleck`."""
    return (to_oobleck(model),)


def ltx2_audio_folder(model: Any) -> tuple[Any]:
    """Return an `AutoencoderKLLTX2Audio`."""
    return (to_ltx2_audio(model),)


def mmaudio_folder(model: Any) -> tuple[Any]:
    """Return an `MMAudioVAE`."""
    return (to_mmaudio(model),)


PUBLISHED_FORMATS: dict[str, PublishedFormat] = {
    entry.original_class.__name__: entry
    for entry in (
        PublishedFormat(AutoencoderOobleck, WaveformVAE.load, oobleck_folder),
        PublishedFormat(AutoencoderKLLTX2Audio, converted(AutoencoderKLLTX2Audio, from_ltx2_audio), ltx2_audio_folder),
        PublishedFormat(MMAudioVAE, converted(MMAudioVAE, from_mmaudio), mmaudio_folder),
        PublishedFormat(DacModel, converted(DacModel, from_dac), dac_folder),
        PublishedFormat(EncodecModel, converted(EncodecModel, from_encodec), encodec_folder),
    )
}
