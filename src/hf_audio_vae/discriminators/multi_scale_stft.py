from diffusers import ConfigMixin, ModelMixin
from diffusers.configuration_utils import register_to_config
from torch import Tensor, nn

from hf_audio_vae.discriminators.layers import ScoringStack, check_sizes, check_waveform, collect, spectrogram_planes
from hf_audio_vae.discriminators.output import DiscriminatorOutput
from hf_audio_vae.modules.convolution import WeightNormConv2d

DILATIONS = (1, 2, 4)


class MultiScaleSTFTDiscriminator(ModelMixin, ConfigMixin):
    """Discriminates complex spectrograms at several scales (Défossez et al., 2022, arXiv:2210.13438, section 3.4).

    The input channels are the real and imaginary parts of all channels over (frames, bins). The layers are a 3x9
    convolution, three with stride 2 over the bins and dilations 1, 2, 4 over the frames, a 3x3 convolution, and a 3x3
    convolution to the logits. Kernel sizes follow the released code; the paper says 3x8. Spectrograms are centred.

    Args:
        audio_channels (`int`): Channels of the waveform.
        hidden_channels (`int`): Channels of every hidden layer; 32 in EnCodec, 64 in Stable Audio's VAE.
        window_lengths (`tuple[int, ...]`): Lengths of the Hann windows in samples; the hop is a quarter.

    Raises:
        ValueError: A number is not positive.

    Example:
        >>> discriminator = MultiScaleSTFTDiscriminator(audio_channels=2, hidden_channels=4, window_lengths=(256, 64))
        >>> output = discriminator(torch.randn(3, 2, 4000))
        >>> [tuple(logits.shape) for logits in output.logits], len(output.feature_maps[0])
        ([(3, 1, 63, 17), (3, 1, 251, 5)], 5)
    """

    @register_to_config
    def __init__(
        self,
        audio_channels: int = 1,
        hidden_channels: int = 32,
        window_lengths: tuple[int, ...] = (2048, 1024, 512, 256, 128),
    ) -> None:
        super().__init__()
        check_sizes(audio_channels=audio_channels, hidden_channels=hidden_channels, window_lengths=window_lengths)
        self.scales = nn.ModuleList(_stack(2 * audio_channels, hidden_channels) for _ in window_lengths)

    def forward(self, waveform: Tensor) -> DiscriminatorOutput:
        """Score a waveform (batch, audio_channels, time); maps are (batch, channels, frames, bins / stride).

        Raises:
            ValueError: Wrong rank or channel count.
        """
        check_waveform(waveform, self.config.audio_channels)
        planes = (spectrogram_planes(waveform, length).to(self.dtype) for length in self.config.window_lengths)
        return collect(stack(plane) for stack, plane in zip(self.scales, planes, strict=True))


def _stack(in_channels: int, channels: int) -> ScoringStack:
    hidden = [
        WeightNormConv2d(in_channels, channels, (3, 9)),
        *(WeightNormConv2d(channels, channels, (3, 9), stride=(1, 2), dilation=(d, 1)) for d in DILATIONS),
        WeightNormConv2d(channels, channels, (3, 3)),
    ]
    return ScoringStack(hidden, WeightNormConv2d(channels, 1, (3, 3)), negative_slope=0.2)
