"""Shared parts of discriminators: spectrogram inputs and stacks of convolutions."""

from collections.abc import Iterable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hf_audio_vae.audio.spectra import Spectra
from hf_audio_vae.audio.spectrogram import hann_window
from hf_audio_vae.discriminators.output import DiscriminatorOutput


class FeatureStack(nn.Module):
    """Convolutions with leaky ReLU; returns the feature map of each."""

    def __init__(self, layers: Iterable[nn.Module], *, negative_slope: float) -> None:
        super().__init__()
        self.layers = nn.ModuleList(layers)
        self.negative_slope = negative_slope

    def forward(self, x: Tensor) -> list[Tensor]:
        """(batch, channels, height, width) -> the output of every layer."""
        feature_maps = []
        for layer in self.layers:
            x = F.leaky_relu(layer(x), self.negative_slope)
            feature_maps.append(x)
        return feature_maps


class ScoringStack(nn.Module):
    """A feature stack and a final convolution from the last feature map to logits."""

    def __init__(self, layers: Iterable[nn.Module], last: nn.Module, *, negative_slope: float) -> None:
        super().__init__()
        self.features = FeatureStack(layers, negative_slope=negative_slope)
        self.last = last

    def forward(self, x: Tensor) -> tuple[Tensor, list[Tensor]]:
        """(batch, channels, height, width) -> logits (batch, 1, height, width), feature maps."""
        feature_maps = self.features(x)
        return self.last(feature_maps[-1]), feature_maps


def spectrogram_planes(waveform: Tensor, window_length: int) -> Tensor:
    """Real and imaginary parts of a spectrogram with hop 1/4; (batch, n, time) -> (batch, 2 * n, frames, bins).

    In float32, divided by the window's norm, so that white noise has the same level for every window length.
    """
    norm = torch.linalg.vector_norm(hann_window(window_length, waveform.device))
    spectrum = Spectra(waveform).stft(window_length).transpose(-1, -2) / norm  # (batch, n, frames, bins)
    return torch.cat((spectrum.real, spectrum.imag), dim=1)


def collect(judgements: Iterable[tuple[Tensor, list[Tensor]]]) -> DiscriminatorOutput:
    """Collect (scores, feature maps) of all sub-discriminators."""
    logits, feature_maps = zip(*judgements, strict=True)
    return DiscriminatorOutput(logits=list(logits), feature_maps=list(feature_maps))


def check_waveform(waveform: Tensor, audio_channels: int) -> None:
    """Raise `ValueError` unless the waveform is (batch, audio_channels, time)."""
    if waveform.ndim != 3 or waveform.shape[1] != audio_channels:
        raise ValueError(
            f"the discriminator expects (batch, {audio_channels}, time), got {tuple(waveform.shape)}; create it with "
            f"the autoencoder's `audio_channels`."
        )


def check_sizes(**sizes: int | Sequence[int]) -> None:
    """Raise `ValueError` unless every number and every element of a tuple is positive."""
    for name, size in sizes.items():
        if min(size if isinstance(size, Sequence) else [size], default=0) < 1:
            raise ValueError(f"`{name}` is {size}; every size has to be 1 or more, and a tuple needs at least one.")
