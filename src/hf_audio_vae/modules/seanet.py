"""SEANet, the convolutional encoder and decoder of SoundStream, EnCodec and DAC, with a choice of layers.

Tagliasacchi et al., 2020 (arXiv:2009.02095); Défossez et al., 2022 (arXiv:2210.13438); Kumar et al., 2023
(arXiv:2306.06546).
"""

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor, nn

from hf_audio_vae.modules.convolution import (
    GroupNormConv1d,
    GroupNormConvTranspose1d,
    WeightNormConv1d,
    WeightNormConvTranspose1d,
)
from hf_audio_vae.modules.stack import CheckpointedStack, Residual, Stack

Conv1d = WeightNormConv1d | GroupNormConv1d
ConvTranspose1d = WeightNormConvTranspose1d | GroupNormConvTranspose1d


@dataclass(frozen=True)
class SEANetLayers:
    """Layer options shared by an encoder and its decoder.

    Args:
        activation (`Callable[[int], nn.Module]`): Returns the activation for a number of channels.
        group_norm (`bool`): Plain weights and group norm after each convolution instead of weight norm.
        causal (`bool`): Convolutions read no later input.
        pad_mode (`str`): `"constant"` for zeros, `"reflect"` for the mirrored signal.
        residual_kernel_size (`int`): Kernel size of a residual unit's first convolution.
        residual_dilations (`tuple[int, ...]`): Its dilation in each residual unit of a block.
        residual_compression (`int`): Factor by which a residual unit's hidden layer is narrower.
        residual_shortcut (`bool`): Use a 1-tap convolution as the shortcut instead of the identity.
    """

    activation: Callable[[int], nn.Module]
    group_norm: bool
    causal: bool
    pad_mode: str
    residual_kernel_size: int
    residual_dilations: tuple[int, ...]
    residual_compression: int
    residual_shortcut: bool

    def conv(
        self, in_channels: int, out_channels: int, kernel_size: int, *, stride: int = 1, dilation: int = 1
    ) -> Conv1d:
        conv_class = GroupNormConv1d if self.group_norm else WeightNormConv1d
        return conv_class(
            in_channels,
            out_channels,
            kernel_size,
            stride=stride,
            dilation=dilation,
            causal=self.causal,
            pad_mode=self.pad_mode,
        )

    def conv_transpose(self, in_channels: int, out_channels: int, *, stride: int) -> ConvTranspose1d:
        conv_class = GroupNormConvTranspose1d if self.group_norm else WeightNormConvTranspose1d
        return conv_class(in_channels, out_channels, stride=stride, causal=self.causal)

    def residual_units(self, channels: int) -> nn.ModuleList:
        return nn.ModuleList(SEANetUnit(channels, dilation, self) for dilation in self.residual_dilations)


class SEANetUnit(Residual):
    """Activation, dilated convolution, activation, 1-tap convolution, plus the input; (batch, channels, time) -> same.

    The hidden layer is `residual_compression` times narrower.
    """

    def __init__(self, channels: int, dilation: int, layers: SEANetLayers) -> None:
        super().__init__()
        width = channels // layers.residual_compression
        self.activation1 = layers.activation(channels)
        self.conv1 = layers.conv(channels, width, layers.residual_kernel_size, dilation=dilation)
        self.activation2 = layers.activation(width)
        self.conv2 = layers.conv(width, channels, 1)
        self.shortcut = layers.conv(channels, channels, 1) if layers.residual_shortcut else nn.Identity()

    def branch(self) -> tuple[nn.Module, ...]:
        return self.activation1, self.conv1, self.activation2, self.conv2

    def forward(self, x: Tensor) -> Tensor:
        return self.run_branch(x).add_(self.shortcut(x))  # in place, to save memory


class SEANetEncoderBlock(Stack):
    """Residual units, then downsampling; (batch, in_channels, time) -> (batch, out_channels, time / stride)."""

    def __init__(self, in_channels: int, out_channels: int, stride: int, layers: SEANetLayers) -> None:
        super().__init__()
        self.units = layers.residual_units(in_channels)
        self.activation = layers.activation(in_channels)
        self.conv = layers.conv(in_channels, out_channels, 2 * stride, stride=stride)

    def layers(self) -> tuple[nn.Module, ...]:
        return (*self.units, self.activation, self.conv)


class SEANetDecoderBlock(Stack):
    """Upsampling, then residual units; (batch, in_channels, time) -> (batch, out_channels, time * stride)."""

    def __init__(self, in_channels: int, out_channels: int, stride: int, layers: SEANetLayers) -> None:
        super().__init__()
        self.activation = layers.activation(in_channels)
        self.conv = layers.conv_transpose(in_channels, out_channels, stride=stride)
        self.units = layers.residual_units(out_channels)

    def layers(self) -> tuple[nn.Module, ...]:
        return (self.activation, self.conv, *self.units)


class SkipLSTM(nn.Module):
    """LSTM over time, plus its input; (batch, channels, time) -> same. Each output depends on all earlier inputs."""

    def __init__(self, channels: int, num_layers: int) -> None:
        super().__init__()
        self.lstm = nn.LSTM(channels, channels, num_layers)

    def forward(self, x: Tensor) -> Tensor:
        x = x.permute(2, 0, 1)  # (time, batch, channels)
        return (self.lstm(x)[0] + x).permute(1, 2, 0)


class SEANetEncoder(CheckpointedStack):
    """(batch, audio_channels, frames * hop_length) -> latents (batch, latent_channels, frames).

    Args:
        audio_channels (`int`): Channels of the waveform.
        latent_channels (`int`): Channels of the latents.
        width (`int`): Channels after the first layer; each block doubles them.
        strides (`tuple[int, ...]`): Stride of each block.
        layers (`SEANetLayers`): Layer options.
        kernel_size (`int`): Kernel size of the first convolution.
        last_kernel_size (`int`): Kernel size of the last convolution.
        num_lstm_layers (`int`): Layers of the LSTM after the blocks; 0 for none.
    """

    def __init__(
        self,
        audio_channels: int,
        latent_channels: int,
        width: int,
        strides: tuple[int, ...],
        layers: SEANetLayers,
        *,
        kernel_size: int,
        last_kernel_size: int,
        num_lstm_layers: int,
    ) -> None:
        super().__init__()
        widths = [width * 2**i for i in range(len(strides) + 1)]
        self.conv1 = layers.conv(audio_channels, width, kernel_size)
        self.blocks = nn.ModuleList(
            SEANetEncoderBlock(widths[i], widths[i + 1], stride, layers) for i, stride in enumerate(strides)
        )
        self.lstm = SkipLSTM(widths[-1], num_lstm_layers) if num_lstm_layers else nn.Identity()
        self.activation = layers.activation(widths[-1])
        self.conv2 = layers.conv(widths[-1], latent_channels, last_kernel_size)

    def layers(self) -> tuple[nn.Module, ...]:
        return (self.conv1, *self.blocks, self.lstm, self.activation, self.conv2)


class SEANetDecoder(CheckpointedStack):
    """Latents (batch, latent_channels, frames) -> (batch, audio_channels, frames * hop_length).

    Args:
        audio_channels (`int`): Channels of the waveform.
        latent_channels (`int`): Channels of the latents.
        width (`int`): Channels after the first layer; each block halves them, rounded down.
        strides (`tuple[int, ...]`): Stride of each block.
        layers (`SEANetLayers`): Layer options.
        kernel_size (`int`): Kernel size of the first convolution.
        last_kernel_size (`int`): Kernel size of the last convolution.
        num_lstm_layers (`int`): Layers of the LSTM before the blocks; 0 for none.
        final_tanh (`bool`): Bound the waveform to (-1, 1).
    """

    def __init__(
        self,
        audio_channels: int,
        latent_channels: int,
        width: int,
        strides: tuple[int, ...],
        layers: SEANetLayers,
        *,
        kernel_size: int,
        last_kernel_size: int,
        num_lstm_layers: int,
        final_tanh: bool,
    ) -> None:
        super().__init__()
        widths = [width // 2**i for i in range(len(strides) + 1)]
        self.conv1 = layers.conv(latent_channels, width, kernel_size)
        self.lstm = SkipLSTM(width, num_lstm_layers) if num_lstm_layers else nn.Identity()
        self.blocks = nn.ModuleList(
            SEANetDecoderBlock(widths[i], widths[i + 1], stride, layers) for i, stride in enumerate(strides)
        )
        self.activation = layers.activation(widths[-1])
        self.conv2 = layers.conv(widths[-1], audio_channels, last_kernel_size)
        self.bound = nn.Tanh() if final_tanh else nn.Identity()

    def layers(self) -> tuple[nn.Module, ...]:
        return (self.conv1, self.lstm, *self.blocks, self.activation, self.conv2, self.bound)
