import torch
from diffusers import ConfigMixin, ModelMixin
from diffusers.configuration_utils import register_to_config
from torch import Tensor, nn

from hf_audio_vae.discriminators.layers import (
    FeatureStack,
    check_sizes,
    check_waveform,
    collect,
    spectrogram_planes,
)
from hf_audio_vae.discriminators.output import DiscriminatorOutput
from hf_audio_vae.modules.convolution import WeightNormConv2d


class MultiBandSpectrogramDiscriminator(nn.Module):
    """Separate convolutions for each band of a complex spectrogram; one convolution scores all bands."""

    def __init__(
        self, audio_channels: int, hidden_channels: int, window_length: int, band_edges: tuple[float, ...]
    ) -> None:
        super().__init__()
        self.window_length = window_length
        bins = window_length // 2 + 1
        self.edges = [0, *(int(edge * bins) for edge in band_edges), bins]
        if sorted(set(self.edges)) != self.edges:
            raise ValueError(
                f"`band_edges` {band_edges} leave a band empty at window length {window_length}, which has {bins} "
                f"bins; give increasing shares between 0 and 1, fewer of them, or longer windows."
            )
        self.bands = nn.ModuleList(_band(2 * audio_channels, hidden_channels) for _ in self.edges[1:])
        self.last = WeightNormConv2d(hidden_channels, 1, (3, 3))

    def forward(self, waveform: Tensor) -> tuple[Tensor, list[Tensor]]:
        """(batch, audio_channels, time) -> scores (batch, 1, frames, bins), feature maps of all bands."""
        planes = spectrogram_planes(waveform, self.window_length).to(self.last.weight_v.dtype)
        widths = [stop - start for start, stop in zip(self.edges, self.edges[1:], strict=False)]
        maps = [band(plane) for band, plane in zip(self.bands, planes.split(widths, dim=-1), strict=True)]
        joined = torch.cat([band_maps[-1] for band_maps in maps], dim=-1)  # (batch, hidden_channels, frames, all bins)
        return self.last(joined), [feature_map for band_maps in maps for feature_map in band_maps]


class MultiResolutionDiscriminator(ModelMixin, ConfigMixin):
    """Discriminates bands of complex spectrograms at several resolutions (Kumar et al., 2023, arXiv:2306.06546).

    Separate weights per band detect artefacts in the quiet high frequencies that shared filters miss. Each band has a
    3x9 convolution over (frames, bins), three 3x9 convolutions with stride 2 over the bins, and a 3x3 convolution. A
    final 3x3 convolution scores their outputs, concatenated over the bins.

    Args:
        audio_channels (`int`): Channels of the waveform.
        hidden_channels (`int`): Channels of every hidden layer; 32 in DAC.
        window_lengths (`tuple[int, ...]`): Lengths of the Hann windows in samples; the hop is a quarter.
        band_edges (`tuple[float, ...]`): Edges between bands, as shares of half the sampling rate.

    Raises:
        ValueError: A number is not positive, or a band is empty.

    Example:
        >>> discriminator = MultiResolutionDiscriminator(hidden_channels=4, window_lengths=(256,), band_edges=(0.5,))
        >>> output = discriminator(torch.randn(3, 1, 4000))
        >>> [tuple(logits.shape) for logits in output.logits], len(output.feature_maps[0])
        ([(3, 1, 63, 17)], 10)
    """

    @register_to_config
    def __init__(
        self,
        audio_channels: int = 1,
        hidden_channels: int = 32,
        window_lengths: tuple[int, ...] = (2048, 1024, 512),
        band_edges: tuple[float, ...] = (0.1, 0.25, 0.5, 0.75),
    ) -> None:
        super().__init__()
        check_sizes(audio_channels=audio_channels, hidden_channels=hidden_channels, window_lengths=window_lengths)
        self.resolutions = nn.ModuleList(
            MultiBandSpectrogramDiscriminator(audio_channels, hidden_channels, length, band_edges)
            for length in window_lengths
        )

    def forward(self, waveform: Tensor) -> DiscriminatorOutput:
        """Score a waveform (batch, audio_channels, time); maps are (batch, channels, frames, bins of a band / stride).

        Raises:
            ValueError: Wrong rank or channel count.
        """
        check_waveform(waveform, self.config.audio_channels)
        return collect(resolution(waveform) for resolution in self.resolutions)


def _band(in_channels: int, channels: int) -> FeatureStack:
    layers = [
        WeightNormConv2d(in_channels, channels, (3, 9)),
        *(WeightNormConv2d(channels, channels, (3, 9), stride=(1, 2)) for _ in range(3)),
        WeightNormConv2d(channels, channels, (3, 3)),
    ]
    return FeatureStack(layers, negative_slope=0.1)
