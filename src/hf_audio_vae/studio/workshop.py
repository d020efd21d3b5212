"""What the tabs of the studio share: loaded models, and sounds that come from a browser and go there."""

import math
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor

from hf_audio_vae.audio import open_audio, write_audio
from hf_audio_vae.files.fingerprints import fingerprint_differences
from hf_audio_vae.latents import AttributeVector, LatentPrior
from hf_audio_vae.models import AutoencoderModel, VariationalAutoencoderMixin
from hf_audio_vae.models.fingerprint import model_fingerprint
from hf_audio_vae.models.sound_files import UnusableFileError, errors_with_path, open_sound
from hf_audio_vae.pipelines import AudioLatentDiffusionPipeline, Prior

EXAMPLES = Path(__file__).parent / "sounds"
ORIGINAL = "original"  # name of a sound that went through no model


@dataclass(frozen=True)
class CodeGenerator:
    """Language models of codes, coarse to fine, and the autoencoder of the codes."""

    priors: Sequence[Prior]
    autoencoder: AutoencoderModel


@dataclass(frozen=True)
class Workshop:
    """Models and sounds of a studio.

    Args:
        models (`Mapping[str, AutoencoderModel]`): Autoencoders by name, on their device.
        folder (`Path`): Private folder of the sounds that the app makes.
        max_seconds (`float`): Longest sound that is accepted and generated.
        priors (`Mapping[str, LatentPrior]`): Measured latents of models, by the name of the model.
        vectors (`Mapping[str, AttributeVector]`): Attributes by name.
        pipelines (`Mapping[str, AudioLatentDiffusionPipeline]`): Pipelines by name.
        code_generators (`Mapping[str, CodeGenerator]`): Language models of codes by name.

    Raises:
        ValueError: There is no model, one is named like the sound before the models, or a vector belongs to none.
    """

    models: Mapping[str, AutoencoderModel]
    folder: Path
    max_seconds: float = 30.0
    priors: Mapping[str, LatentPrior] = field(default_factory=dict)
    vectors: Mapping[str, AttributeVector] = field(default_factory=dict)
    pipelines: Mapping[str, AudioLatentDiffusionPipeline] = field(default_factory=dict)
    code_generators: Mapping[str, CodeGenerator] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not self.models:
            raise ValueError("`models` is empty; give at least one autoencoder.")
        if ORIGINAL in self.models:
            raise ValueError(f"a model is named {ORIGINAL!r}, like the sound before the models; rename its folder.")
        for name in self.vectors:
            self.model_of_vector(name)

    @property
    def latent_models(self) -> dict[str, VariationalAutoencoderMixin]:
        """Models that encode to latents, not to codes."""
        found = {name: model for name, model in self.models.items() if not model.codebook_sizes}
        return cast(dict[str, VariationalAutoencoderMixin], found)

    def model_of_vector(self, name: str) -> VariationalAutoencoderMixin:
        """Return the model with whose latents an attribute was measured; raises `ValueError` if it is not here."""
        weights = self.vectors[name].weights
        for model in self.latent_models.values():
            if not fingerprint_differences(weights, model_fingerprint(model)):
                return model
        raise ValueError(f"the vector {name} belongs to none of the models {', '.join(self.models)}; add its model.")

    def read(self, path: str | None, model: AutoencoderModel, *, max_seconds: float = math.inf) -> Tensor:
        """Read a sound of the browser at the rate and with the channels of a model, (audio_channels, time).

        Args:
            path (`str`, *optional*): File.
            model (`AutoencoderModel`): The model.
            max_seconds (`float`): Longest sound for this use, if that is less than `max_seconds` of the studio.

        Raises:
            ValueError: There is no sound, it is too long, or it cannot be decoded.
        """
        with errors_with_name(path) as file, open_sound(model, file, name="sound", notice=lambda line: None) as sound:
            self._check_seconds(sound.num_samples / model.sampling_rate, min(max_seconds, self.max_seconds))
            return sound.read(0, sound.num_samples)

    def read_original(self, path: str | None) -> tuple[Tensor, int]:
        """Read a sound of the browser as it is: (audio_channels, time) and its rate in Hz; raises as `read`."""
        with errors_with_name(path) as file, errors_with_path(file), open_audio(file, thorough=True) as reader:
            self._check_seconds(reader.num_samples / reader.sampling_rate, self.max_seconds)
            return reader.read(0, reader.num_samples), reader.sampling_rate

    def new_file(self) -> Path:
        """Return a path for a sound, whose name says nothing about it."""
        return self.folder / f"{uuid.uuid4().hex}.wav"

    def write(self, waveform: Tensor, sampling_rate: int) -> str:
        """Write a sound (audio_channels, time) for the browser; return its path."""
        if not bool(waveform.isfinite().all()):
            raise ValueError("the result is NaN or infinite; use other settings, or check the weights of the model.")
        path = self.new_file()
        write_audio(path, waveform.float().cpu(), sampling_rate)
        return str(path)

    @staticmethod
    def _check_seconds(seconds: float, most: float) -> None:
        if seconds > most:
            raise ValueError(f"the sound has {seconds:.2f} s; use one of at most {most:g} s.")


@contextmanager
def errors_with_name(path: str | None) -> Iterator[Path]:
    """Yield the path of an upload; replace it by its name in errors, since folders of the server are private."""
    if not path:
        raise ValueError("there is no sound yet; upload or record one.")
    try:
        yield Path(path)
    except UnusableFileError as error:
        raise UnusableFileError(str(error).replace(path, Path(path).name)) from error


@torch.no_grad()
def reconstruct(model: AutoencoderModel, waveform: Tensor) -> Tensor:
    """Encode and decode a sound, (audio_channels, time) -> the same shape, on the CPU."""
    return model(waveform[None].to(model.device)).sample[0].float().cpu()


@torch.no_grad()
def encode(model: VariationalAutoencoderMixin, waveform: Tensor) -> Tensor:
    """Encode a sound (audio_channels, time) to the mode of its posterior, (latent_channels, frames), on the CPU."""
    output: Any = model.encode(waveform[None].to(model.device))
    return output.latent_dist.mode()[0].float().cpu()


@torch.no_grad()
def decode(model: VariationalAutoencoderMixin, latents: Tensor, num_samples: int | None = None) -> Tensor:
    """Decode latents (latent_channels, frames) to a sound (audio_channels, time), on the CPU."""
    output: Any = model.decode(latents[None].to(model.device, model.dtype))
    return output.sample[0, :, :num_samples].float().cpu()
