from torch import nn

from hf_audio_vae.modules.activations import Snake1d
from hf_audio_vae.modules.convolution import WeightNormConv1d, WeightNormConvTranspose1d
from hf_audio_vae.modules.stack import Residual, Stack

DILATIONS = (1, 3, 9)


class ResidualUnit(Residual):
    """Snake, dilated 7-tap convolution, Snake, 1-tap convolution, plus the input; (batch, channels, time) -> same."""

    def __init__(self, channels: int, *, dilation: int, causal: bool) -> None:
        super().__init__()
        self.snake1 = Snake1d(channels)
        self.conv1 = WeightNormConv1d(channels, channels, 7, dilation=dilation, causal=causal)
        self.snake2 = Snake1d(channels)
        self.conv2 = WeightNormConv1d(channels, channels, 1)
        self.shortcut = nn.Identity()

    def branch(self) -> tuple[nn.Module, ...]:
        return self.snake1, self.conv1, self.snake2, self.conv2


class EncoderBlock(Stack):
    """Three residual units, then downsampling; (batch, in_channels, time) -> (batch, out_channels, time / stride)."""

    def __init__(self, in_channels: int, out_channels: int, *, stride: int, causal: bool) -> None:
        super().__init__()
        self.res_unit1 = ResidualUnit(in_channels, dilation=DILATIONS[0], causal=causal)
        self.res_unit2 = ResidualUnit(in_channels, dilation=DILATIONS[1], causal=causal)
        self.res_unit3 = ResidualUnit(in_channels, dilation=DILATIONS[2], causal=causal)
        self.snake1 = Snake1d(in_channels)
        self.conv1 = WeightNormConv1d(in_channels, out_channels, 2 * stride, stride=stride, causal=causal)

    def layers(self) -> tuple[nn.Module, ...]:
        return (self.res_unit1, self.res_unit2, self.res_unit3, self.snake1, self.conv1)


class DecoderBlock(Stack):
    """Upsampling, then three residual units; (batch, in_channels, time) -> (batch, out_channels, time * stride)."""

    def __init__(self, in_channels: int, out_channels: int, *, stride: int, causal: bool) -> None:
        super().__init__()
        self.snake1 = Snake1d(in_channels)
        self.conv_t1 = WeightNormConvTranspose1d(in_channels, out_channels, stride=stride, causal=causal)
        self.res_unit1 = ResidualUnit(out_channels, dilation=DILATIONS[0], causal=causal)
        self.res_unit2 = ResidualUnit(out_channels, dilation=DILATIONS[1], causal=causal)
        self.res_unit3 = ResidualUnit(out_channels, dilation=DILATIONS[2], causal=causal)

    def layers(self) -> tuple[nn.Module, ...]:
        return (self.snake1, self.conv_t1, self.res_unit1, self.res_unit2, self.res_unit3)
