"""Autoregressive WaveNet: trained on all samples at once, run sample by sample with cached layers."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hf_audio_vae.modules.frame_generation import FrameGenerator, GenerationState
from hf_audio_vae.modules.sample_distributions import SampleDistribution

FIRST_GAIN = 0.1  # of the weights beside a first guess
PIECE_SAMPLES = 2**15  # whose likelihood is computed at once, unless it trains


class Gate(nn.Module):
    """tanh of the first half of the channels, times sigmoid of the second; (batch, 2 n, time) -> (batch, n, time)."""

    def forward(self, x: Tensor) -> Tensor:
        value, gate = x.chunk(2, dim=1)
        return value.tanh() * gate.sigmoid()


class WaveNetLayer(nn.Module):
    """A causal 2-tap dilated convolution with conditioning and gate, and a 1-tap convolution to skip and residual.

    Args:
        channels (`int`): Residual channels.
        skip_channels (`int`): Channels of the sum over layers.
        dilation (`int`): Samples between the two taps.
        is_last (`bool`): The residual output is not used, so there is none.
    """

    def __init__(self, channels: int, skip_channels: int, dilation: int, *, is_last: bool) -> None:
        super().__init__()
        self.dilation = dilation
        self.conv = nn.Conv1d(channels, 2 * channels, 2, dilation=dilation)
        self.gate = Gate()
        self.skip = nn.Conv1d(channels, skip_channels, 1)
        self.residual = None if is_last else nn.Conv1d(channels, channels, 1)

    def forward(self, x: Tensor, skip: Tensor, condition: Tensor) -> tuple[Tensor, Tensor]:
        """Return the next layer's input and the sum.

        Args:
            x (`torch.Tensor` of shape `(batch, channels, time)`): Input.
            skip (`torch.Tensor` of shape `(batch, skip_channels, time)`): Sum of the layers before.
            condition (`torch.Tensor` of shape `(batch, 2 * channels, frames)`): Added to the convolution, each frame
                to `time / frames` samples.
        """
        gates = self.conv(F.pad(x, (self.dilation, 0)))
        gates = (gates.unflatten(2, (condition.shape[2], -1)) + condition[..., None]).flatten(2)
        hidden = self.gate(gates)
        return x if self.residual is None else x + self.residual(hidden), skip + self.skip(hidden)


class ParameterConv1d(nn.Conv1d):
    """(batch, in_channels, time) -> (batch, audio_channels * num_parameters, time).

    It starts with the first guess of the distribution, and multiplies its outputs by the distribution's gains.

    Args:
        in_channels (`int`): Channels of the input.
        audio_channels (`int`): Channels of the waveform.
        distribution (`SampleDistribution`): Distribution of a sample.
    """

    def __init__(self, in_channels: int, audio_channels: int, distribution: SampleDistribution) -> None:
        self.distribution = distribution  # `__init__` of the base class calls `reset_parameters`
        super().__init__(in_channels, audio_channels * distribution.num_parameters, 1)

    @torch.no_grad()
    def reset_parameters(self) -> None:
        """Draw new weights."""
        super().reset_parameters()
        if self.distribution.write_first_guess(cast(Tensor, self.bias)):
            self.weight.mul_(FIRST_GAIN)

    def forward(self, input: Tensor) -> Tensor:
        return F.conv1d(input, *self.with_gains())

    def with_gains(self) -> tuple[Tensor, Tensor]:
        """Return weight and bias of the convolution without factors."""
        bias = cast(Tensor, self.bias)
        gains = self.distribution.gains(bias.detach())
        gains = gains.repeat(self.out_channels // len(gains))
        return self.weight * gains[:, None, None], bias * gains

    @torch.no_grad()
    def folded(self) -> nn.Conv1d:
        """Return the convolution without factors."""
        conv = nn.Conv1d(self.in_channels, self.out_channels, 1, device="meta")
        conv.weight, conv.bias = map(nn.Parameter, self.with_gains())
        return conv


class AutoregressiveWaveNet(FrameGenerator):
    """Predicts the distribution of each sample from the samples before it in its receptive field, and from frames.

    Args:
        audio_channels (`int`): Channels of the waveform; those of one time step are independent given the past.
        frame_channels (`int`): Channels of the frames.
        channels (`int`): Residual channels.
        skip_channels (`int`): Channels of the sum over layers and of the hidden layer after it.
        dilations (`tuple[int, ...]`): Dilation of each layer.
        hop_length (`int`): Samples per frame.
        distribution (`SampleDistribution`): Distribution of a sample.
    """

    gradient_checkpointing = False
    _gradient_checkpointing_func: Callable[..., tuple[Tensor, Tensor]]

    def __init__(
        self,
        audio_channels: int,
        frame_channels: int,
        channels: int,
        skip_channels: int,
        dilations: tuple[int, ...],
        hop_length: int,
        distribution: SampleDistribution,
    ) -> None:
        super().__init__()
        self.audio_channels, self.hop_length, self.distribution = audio_channels, hop_length, distribution
        self.conv_in = nn.Conv1d(audio_channels, channels, 1)
        self.condition = nn.Conv1d(frame_channels, len(dilations) * 2 * channels, 1)
        last = len(dilations) - 1
        self.blocks = nn.ModuleList(
            WaveNetLayer(channels, skip_channels, dilation, is_last=index == last)
            for index, dilation in enumerate(dilations)
        )
        self.hidden = nn.Conv1d(skip_channels, skip_channels, 1)
        self.conv_out = ParameterConv1d(skip_channels, audio_channels, distribution)

    @property
    def dilations(self) -> tuple[int, ...]:
        """Dilation of each layer."""
        blocks: Any = self.blocks
        return tuple(block.dilation for block in blocks)

    @property
    def receptive_field(self) -> int:
        """Number of past samples that a prediction reads."""
        return 1 + sum(self.dilations)

    @property
    def channels(self) -> int:
        """Residual channels."""
        return self.conv_in.out_channels

    @property
    def skip_channels(self) -> int:
        """Channels of the sum over layers."""
        return self.hidden.in_channels

    @torch.no_grad()
    def weights_by_layer(self) -> "LayerWeights":
        """Return a copy of the weights of the layers, for generation.

        Raises:
            ValueError: Hooks hold the weights elsewhere; they return them for single layers only.
        """
        if self.conv_in.weight.is_meta:
            raise ValueError(
                "the weights are offloaded layer by layer, but generation uses all layers at once; offload the model "
                "as a whole (`cpu_offload_with_hook` of accelerate, `enable_model_cpu_offload` of diffusers)."
            )
        blocks: Any = list(self.blocks)
        gates = torch.stack([block.conv.weight for block in blocks])  # (layers, 2 channels, channels, 2)
        residuals = [block.residual for block in blocks[:-1]]
        left_out = torch.stack([gates.new_zeros(self.channels), *(conv.bias for conv in residuals)]).cumsum(dim=0)
        biases = torch.stack([block.conv.bias for block in blocks])
        past, present = gates.permute(3, 0, 2, 1).contiguous()
        scale = len(blocks) ** -0.5
        return LayerWeights(
            gates=(past, present),
            gate_biases=biases + torch.einsum("loik,li->lo", gates, left_out),
            residuals=torch.stack(
                [*(matrix_of(conv) for conv in residuals), gates.new_zeros(self.channels, self.channels)]
            ),
            skips=torch.stack([matrix_of(block.skip) for block in blocks]) * scale,
            skip_bias=torch.stack([block.skip.bias for block in blocks]).sum(dim=0) * scale,
            left_out=left_out,
        )

    def predict(self, frames: Tensor, past: Tensor) -> Tensor:
        """Return the parameters of the distribution of each sample.

        Args:
            frames (`torch.Tensor` of shape `(batch, frame_channels, frames)`): Frames.
            past (`torch.Tensor` of shape `(batch, audio_channels, time)`): The sample before each, on the scale of
                `SampleDistribution.network_input`; `time = frames * hop_length`.

        Returns:
            `torch.Tensor` of shape `(batch, audio_channels * num_parameters, time)`: Parameters.
        """
        x = self.conv_in(past)
        skip = x.new_zeros(x.shape[0], self.hidden.in_channels, 1)
        conditions = self.condition(frames).chunk(len(self.blocks), dim=1)
        checkpointed = self.gradient_checkpointing and torch.is_grad_enabled()
        for block, condition in zip(self.blocks, conditions, strict=True):
            run = self._gradient_checkpointing_func if checkpointed else _call
            x, skip = run(block, x, skip, condition)
        skip = (skip * len(self.blocks) ** -0.5).relu()
        return self.conv_out(self.hidden(skip).relu())

    def nll(self, frames: Tensor, waveform: Tensor, *, dropped: Tensor | None = None) -> Tensor:
        """Return the negative log-likelihood in nats of each sample given the samples before it.

        Without gradients it is computed piece by piece, so that the memory does not grow with the layers' outputs.

        Args:
            frames (`torch.Tensor` of shape `(batch, frame_channels, frames)`): Frames.
            waveform (`torch.Tensor` of shape `(batch, audio_channels, time)`): Samples, at most `frames * hop_length`.
            dropped (`torch.Tensor` of shape `(batch, 1, frames)`, *optional*): True for frames whose samples are
                hidden from the predictions of later samples.

        Returns:
            `torch.Tensor` of shape `(batch, audio_channels, time)`: Float32.
        """
        time = waveform.shape[-1]
        past = self.distribution.network_input(waveform.clamp(-1, 1))
        past = F.pad(past, (0, frames.shape[-1] * self.hop_length - time))
        if dropped is not None:
            past = past.masked_fill(dropped.repeat_interleave(self.hop_length, dim=-1), 0)
        past, hop, count = F.pad(past, (1, -1)), self.hop_length, frames.shape[-1]
        piece = count if torch.is_grad_enabled() else -(-PIECE_SAMPLES // hop)
        reach = -(-self.receptive_field // hop)
        pieces = []
        for start in range(0, count, piece):
            first, stop = max(start - reach, 0), start + piece
            parameters = self.predict(frames[..., first:stop], past[..., first * hop : stop * hop])
            samples = waveform[..., start * hop : stop * hop]
            own = parameters[..., (start - first) * hop :][..., : samples.shape[-1]]
            inputs = past[..., start * hop :][..., : samples.shape[-1]]
            pieces.append(self.distribution.nll(own, samples, inputs))
        return torch.cat(pieces, dim=-1)

    def conditions(self, frames: Tensor) -> Tensor:
        """(batch, frame_channels, frames) -> (batch, frames, layers, 2 * channels), without the layers' biases."""
        return self.condition(frames).transpose(1, 2).unflatten(2, (len(self.blocks), -1))

    def new_state(self, batch: int) -> "CachedState":
        """Return the state before the first sample, with a copy of the weights."""
        return CachedState(self, batch)


@dataclass(frozen=True)
class LayerWeights:
    """The weights of all layers as matrices, for one time step.

    A layer reads its input without the biases of the residual convolutions before it. Their products are constant, and
    part of the biases of the gates.

    Args:
        gates (`tuple` of two `torch.Tensor` of shape `(layers, channels, 2 * channels)`): Past and present tap.
        gate_biases (`torch.Tensor` of shape `(layers, 2 * channels)`): Biases of the gates.
        residuals (`torch.Tensor` of shape `(layers, channels, channels)`): From gate to next input; 0 for the last.
        skips (`torch.Tensor` of shape `(layers, channels, skip_channels)`): From gate to the scaled sum.
        skip_bias (`torch.Tensor` of shape `(skip_channels,)`): Bias of the scaled sum.
        left_out (`torch.Tensor` of shape `(layers, channels)`): The biases that the input of each layer lacks.
    """

    gates: tuple[Tensor, Tensor]
    gate_biases: Tensor
    residuals: Tensor
    skips: Tensor
    skip_bias: Tensor
    left_out: Tensor


class CachedState(GenerationState):
    """Keeps the inputs of each layer that later samples read: a sample costs one column of each layer.

    Calls take most of the time, so there are four for each layer, all into memory that is allocated once.
    Constants are part of the weights:

    - tanh(a) sigmoid(b) is (tanh(a) + tanh(a) tanh(b / 2)) / 2.
    - The biases of the residual convolutions are left out, see `LayerWeights`.
    """

    def __init__(self, net: AutoregressiveWaveNet, batch: int) -> None:
        weights = net.weights_by_layer()
        count, channels = len(net.blocks), net.channels
        self._distribution = net.distribution
        halved = weights.left_out.new_ones(2 * channels)
        halved[channels:] = 0.5
        self._halved, self._gate_biases = halved, (weights.gate_biases * halved)[:, None]
        past, present = ((taps * halved).contiguous() for taps in weights.gates)
        self._past_weights, self._weights = past, present.unbind()
        self._residual_weights = (weights.residuals[:-1] / 2).unbind()
        self._skip = weights.skips.flatten(0, 1) / 2, weights.skip_bias
        self._in, self._hidden, self._out = (
            _affine(conv) for conv in (net.conv_in, net.hidden, net.conv_out.folded())
        )

        self._dilations = torch.tensor(net.dilations, device=halved.device)
        self._layers = torch.arange(count, device=halved.device)
        # Inputs of each layer, overwritten after `dilation` samples; before the first sample, the layers read 0.
        self._kept = -weights.left_out[:, None, None].repeat(1, max(net.dilations), batch, 1)
        self._inputs, self._gates = halved.new_empty(count, batch, channels), halved.new_empty(batch, 2 * channels)
        self._from_past = halved.new_empty(count, batch, 2 * channels)
        self._outputs = halved.new_empty(batch, count, channels)
        self._last = halved.new_zeros(batch, net.audio_channels)
        self._time = 0
        self._views = self._inputs.unbind(), self._from_past.unbind(), self._outputs.unbind(dim=1)

    def next(self, conditions: Tensor, noise: Tensor, temperature: float) -> Tensor:
        """As `GenerationState`."""
        offsets = conditions.transpose(0, 1) * self._halved + self._gate_biases  # (layers, batch, 2 channels)
        samples = [self._sample(offsets, uniform, temperature) for uniform in noise]
        return torch.stack(samples, dim=-1)

    def _sample(self, offsets: Tensor, uniform: Tensor, temperature: float) -> Tensor:
        index = (self._layers, self._time % self._dilations)
        torch.baddbmm(offsets, self._kept[index], self._past_weights, out=self._from_past)
        gates = self._gates
        value, gate = gates.chunk(2, dim=1)
        inputs, from_past, outputs = self._views
        torch.addmm(self._in[1], self._last, self._in[0], out=inputs[0])
        for layer, weight in enumerate(self._weights):
            torch.addmm(from_past[layer], inputs[layer], weight, out=gates).tanh_()
            torch.addcmul(value, value, gate, out=outputs[layer])
            if layer < len(self._residual_weights):
                torch.addmm(inputs[layer], outputs[layer], self._residual_weights[layer], out=inputs[layer + 1])
        self._kept[index] = self._inputs
        x = self._outputs.flatten(1)
        for weight, bias in (self._skip, self._hidden):
            x = torch.addmm(bias, x, weight).relu_()
        sample = self._distribution.draw(torch.addmm(self._out[1], x, self._out[0]), uniform, temperature, self._last)
        self._last = self._distribution.network_input(sample)
        self._time += 1
        return sample


def _call(block: nn.Module, *inputs: Tensor) -> tuple[Tensor, Tensor]:
    outputs: tuple[Tensor, Tensor] = block(*inputs)
    return outputs


def _affine(conv: nn.Conv1d) -> tuple[Tensor, Tensor]:
    """Return the weight (in_channels, out_channels) and the bias of a 1-tap convolution."""
    return matrix_of(conv).contiguous(), cast(Tensor, conv.bias).detach()


def matrix_of(conv: nn.Conv1d) -> Tensor:
    """Return the matrix (in_channels, out_channels) of a 1-tap convolution."""
    return conv.weight.detach()[..., 0].mT
