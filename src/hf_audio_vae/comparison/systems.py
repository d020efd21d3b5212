"""One interface for all systems that are compared: autoencoders, and codecs of audio files as anchors."""

import re
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from hf_audio_vae.audio.resampling import convert_channels, resample
from hf_audio_vae.evaluation.health import Health, health_of
from hf_audio_vae.evaluation.linearity import linearity_figures
from hf_audio_vae.evaluation.lossy import LOSSY, MP3_SAMPLING_RATES, OPUS_SAMPLING_RATES, UncodableError
from hf_audio_vae.models import AutoencoderModel
from hf_audio_vae.models.fingerprint import model_fingerprint

ANCHOR = re.compile(rf"({'|'.join(LOSSY)})@(\d+(?:\.\d+)?)")
ANCHOR_RATES = {"opus": OPUS_SAMPLING_RATES, "mp3": MP3_SAMPLING_RATES}


@dataclass(frozen=True)
class Coded:
    """A coded and decoded clip.

    Attributes:
        waveform (`torch.Tensor` of shape `(audio_channels, time)`): The reconstruction.
        figures (`dict[str, float]`): Figures that the system reports for this clip, by metric name.
        health (`Health`, *optional*): Statistics of the latents or codes of the clip.
    """

    waveform: Tensor
    figures: dict[str, float]
    health: Health | None = None


class System(ABC):
    """Codes and decodes clips.

    Attributes:
        name (`str`): Name in tables.
        sampling_rate (`int`, *optional*): Rate of its waveforms in Hz; `None` if it depends on the rate of the clip.
        audio_channels (`int`, *optional*): Channels of its waveforms; `None` if they are those of the clip.
        device (`torch.device`, *optional*): Device that it runs on; `None` for anchors, whose speed is not measured.
    """

    name: str
    sampling_rate: int | None = None
    audio_channels: int | None = None
    device: torch.device | None = None

    @property
    @abstractmethod
    def identity(self) -> str:
        """String that is equal for systems that give equal results."""

    def properties(self) -> dict[str, float]:
        """Return figures that are the same for all clips, by metric name."""
        return {}

    def new_health(self) -> Health | None:
        """Return empty statistics of latents or codes; `None` for anchors."""
        return None

    @abstractmethod
    def code_at_own_rate(self, waveform: Tensor, sampling_rate: int) -> Coded:
        """Code a clip (audio_channels, time) at the rate and with the channels of the system."""

    def code(self, waveform: Tensor, sampling_rate: int) -> Coded:
        """Code a clip of any rate and channels, and convert the reconstruction to this rate and these channels.

        Args:
            waveform (`torch.Tensor` of shape `(audio_channels, time)`): Clip.
            sampling_rate (`int`): Rate of the clip in Hz.

        Returns:
            `Coded`: The reconstruction has the shape of the clip.

        Raises:
            UncodableError: The system cannot code this clip, such as one without a sample at the rate of the system.
        """
        channels, time = waveform.shape
        rate = self.rate_for(sampling_rate)
        clip = resample(convert_channels(waveform, self.audio_channels or channels), sampling_rate, rate)
        if clip.shape[-1] < 1:
            raise UncodableError(f"it is too short for one sample at {rate} Hz, the rate of {self.name}.")
        coded = self.code_at_own_rate(clip, rate)
        decoded = resample(convert_channels(coded.waveform, channels), rate, sampling_rate)[:, :time]
        decoded = torch.nn.functional.pad(decoded, (0, time - decoded.shape[-1]))
        return Coded(decoded, coded.figures, coded.health)

    def rate_for(self, sampling_rate: int) -> int:
        """Return the rate in Hz at which the system codes clips of a given rate."""
        return self.sampling_rate or sampling_rate


class ModelSystem(System):
    """An autoencoder in evaluation mode. It decodes the mode of the posterior.

    Args:
        name (`str`): Name in tables.
        model (`AutoencoderModel`): The model.
    """

    def __init__(self, name: str, model: AutoencoderModel) -> None:
        self.name, self.model = name, model
        self.sampling_rate, self.audio_channels = model.sampling_rate, model.config.audio_channels
        self.device = model.device

    @property
    def identity(self) -> str:
        """Fingerprint of weights and configuration."""
        return model_fingerprint(self.model)

    def properties(self) -> dict[str, float]:
        """Return the size of the model and the rate of its latents or codes."""
        model: Any = self.model
        parameters = float(sum(parameter.numel() for parameter in model.parameters()))
        samples = model.sampling_rate * model.config.audio_channels
        if model.codebook_sizes:
            return {"parameters": parameters, "compression": 16 * samples / model.bits_per_second}
        numbers = model.latent_channels * model.frame_rate
        return {"parameters": parameters, "latent_numbers_per_second": numbers, "compression": samples / numbers}

    def new_health(self) -> Health:
        """See `health_of`."""
        return health_of(self.model)

    @torch.no_grad()
    def code_at_own_rate(self, waveform: Tensor, sampling_rate: int) -> Coded:
        """See `System`. Raises `ValueError` if the output is NaN or infinite."""
        output: Any = self.model(waveform[None].to(self.model.device))
        reconstruction = output.sample[0].float().cpu()
        losses = {name: float(value.mean()) for name, value in output.losses.items()}
        if not bool(reconstruction.isfinite().all()):
            raise ValueError(f"{self.name}: the output is NaN or infinite; check the weights of the model.")
        health = self.new_health()
        health.add(output)
        return Coded(reconstruction, losses | linearity_figures(self.model, waveform.to(self.model.device)), health)


class AnchorSystem(System):
    """A codec of audio files at a bitrate.

    Args:
        name (`str`): Codec, `@`, and kbit/s of all channels, such as `opus@64`.

    Raises:
        ValueError: The name has another form.
    """

    def __init__(self, name: str) -> None:
        found = ANCHOR.fullmatch(name)
        if found is None:
            raise ValueError(f"{name!r} is no anchor; name one of {', '.join(LOSSY)} and kbit/s, such as `opus@64`.")
        self.name, self._codec, self._bits = name, found[1], round(1000 * float(found[2]))

    @property
    def identity(self) -> str:
        """The name."""
        return self.name

    def rate_for(self, sampling_rate: int) -> int:
        """Return the lowest rate of the codec that is not below the rate of the clip, else its highest rate."""
        rates = ANCHOR_RATES.get(self._codec, (sampling_rate,))
        return min((rate for rate in rates if rate >= sampling_rate), default=max(rates))

    def code_at_own_rate(self, waveform: Tensor, sampling_rate: int) -> Coded:
        """See `System`. The figures have the bits per second of the file."""
        coded = LOSSY[self._codec](waveform, sampling_rate, self._bits)
        return Coded(coded.waveform, {"file_bits_per_second": coded.bits_per_second})


def is_anchor(name: str) -> bool:
    """Return whether a name is that of an anchor, such as `opus@64`."""
    return ANCHOR.fullmatch(name) is not None
