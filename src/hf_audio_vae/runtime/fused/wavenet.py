"""The autoregressive WaveNet on compiled kernels: a call generates the samples of a frame."""

import copy

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hf_audio_vae.modules.autoregressive import AutoregressiveWaveNet, matrix_of
from hf_audio_vae.modules.frame_generation import FrameGenerator, GenerationState
from hf_audio_vae.modules.sample_distributions import LogisticMixture
from hf_audio_vae.runtime.native import NativeKernels, native_kernels


class CompiledWaveNet(FrameGenerator):
    """Generates what an `AutoregressiveWaveNet` generates, with a copy of its weights.

    Weights in bfloat16 stay so, which halves the time of a sample. All other values are float32.

    Args:
        net (`AutoregressiveWaveNet`): The network, on the CPU, in float32 or bfloat16.
        kernels (`NativeKernels`): The compiled kernels, of float32.
    """

    def __init__(self, net: AutoregressiveWaveNet, kernels: NativeKernels) -> None:
        super().__init__()
        self.audio_channels, self.hop_length, self.distribution = net.audio_channels, net.hop_length, net.distribution
        self.condition = copy.deepcopy(net.condition)
        self.kernels, self.weight_dtype = kernels, net.conv_in.weight.dtype
        blocks = net.weights_by_layer()
        self.dilations = torch.tensor(net.dilations)
        self.channels = _in_vectors(net.channels, kernels.width)
        self.skip_channels = _in_vectors(net.skip_channels, kernels.width)
        parameters = net.conv_out.out_channels
        self.gate_biases = blocks.gate_biases.float()
        past, present = (self._gate_panels(weights) for weights in blocks.gates)
        skip = _grown(blocks.skips, self.channels, self.skip_channels)
        residual = _grown(blocks.residuals, self.channels, self.channels)
        outputs = kernels.panels(torch.cat([skip, residual], dim=-1))  # (layers, panels, ...)
        layers = torch.cat([panels.flatten(1) for panels in (past, present, outputs)], dim=1)
        self.layer_weights = self._packed(layers)
        heads = [(net.hidden, self.skip_channels), (net.conv_out.folded(), _in_vectors(parameters, kernels.width))]
        panels = [kernels.panels(_grown(matrix_of(conv), self.skip_channels, size)).flatten() for conv, size in heads]
        self.heads = self._packed(torch.cat(panels))
        self.biases = torch.cat(
            [_grown_row(blocks.skip_bias, self.skip_channels)]
            + [_grown_row(conv.bias.detach(), size) for conv, size in heads]  # type: ignore[union-attr]
        )
        inputs = torch.cat([matrix_of(net.conv_in), net.conv_in.bias.detach()[None]])  # type: ignore[union-attr]
        self.inputs = F.pad(inputs.float(), (0, self.channels - net.channels)).contiguous()
        self.left_out = F.pad(blocks.left_out, (0, self.channels - net.channels))

    def conditions(self, frames: Tensor) -> Tensor:
        """(batch, frame_channels, frames) -> (batch, frames, layers, 2 * channels), float32 and padded."""
        conditions = self.condition(frames).transpose(1, 2).unflatten(2, (len(self.dilations), -1)).float()
        return _grown_halves(conditions + self.gate_biases, self.channels)

    def new_state(self, batch: int) -> "CompiledState":
        """Return the state before the first sample."""
        return CompiledState(self, batch)

    def _packed(self, panels: Tensor) -> Tensor:
        """Return panels in the dtype of the weights; in bfloat16, the columns of the two halves of a row alternate."""
        if self.weight_dtype == torch.float32:
            return panels.contiguous()
        halves = panels.unflatten(-1, (-1, 2, self.kernels.width // 2))
        return halves.mT.to(self.weight_dtype).contiguous()

    def _gate_panels(self, weights: Tensor) -> Tensor:
        """Panels of the matrices (layers, channels, 2 * channels) of a tap."""
        depth = self.channels - weights.shape[1]
        return self.kernels.panels(F.pad(_grown_halves(weights, self.channels), (0, 0, 0, depth)))


class CompiledState(GenerationState):
    """The state of a batch; its memory is the kernel's."""

    def __init__(self, net: CompiledWaveNet, batch: int) -> None:
        self.net = net
        self.sizes = torch.tensor(
            [batch, net.hop_length, len(net.dilations), net.channels, net.skip_channels, net.audio_channels]
            + [net.distribution.num_components, int(isinstance(net.distribution, LogisticMixture))]
            + [len(net.biases) - 2 * net.skip_channels, int(net.dilations.max())]
            + [int(net.weight_dtype == torch.bfloat16), 0]
        )
        kept = -net.left_out[None, :, None].repeat(batch, 1, int(net.dilations.max()), 1)
        self.kept = kept.float().contiguous()
        self.last = torch.zeros(batch, net.audio_channels)

    def next(self, conditions: Tensor, noise: Tensor, temperature: float) -> Tensor:
        """As `GenerationState`."""
        net, batch = self.net, len(self.last)
        samples = torch.empty(batch, net.audio_channels, net.hop_length)
        net.kernels.call(
            "wavenet_frame",
            *(self.sizes, net.dilations, torch.tensor([float(temperature)]), conditions.contiguous()),
            *(net.layer_weights, net.inputs, net.biases, net.heads, self.kept, self.last, noise.contiguous(), samples),
        )
        self.sizes[-1] += net.hop_length
        return samples


def compiled_wavenet(net: AutoregressiveWaveNet) -> CompiledWaveNet | None:
    """Return the network on compiled kernels; `None` on other devices than the CPU, or without kernels."""
    weight = net.conv_in.weight
    supported = weight.device.type == "cpu" and weight.dtype in (torch.float32, torch.bfloat16)
    kernels = native_kernels(torch.float32) if supported else None
    return None if kernels is None else CompiledWaveNet(net, kernels)


def compile_wavenets(network: nn.Module) -> int:
    """Replace the autoregressive WaveNets inside a network by compiled ones; return their number."""
    found = [
        (parent, name, compiled)
        for parent in network.modules()
        for name, child in parent.named_children()
        if isinstance(child, AutoregressiveWaveNet) and (compiled := compiled_wavenet(child)) is not None
    ]
    for parent, name, compiled in found:
        setattr(parent, name, compiled)
    return len(found)


def _in_vectors(channels: int, width: int) -> int:
    return -(-channels // width) * width


def _grown(matrix: Tensor, depth: int, columns: int) -> Tensor:
    """Append zeros to (..., depth, columns)."""
    return F.pad(matrix.float(), (0, columns - matrix.shape[-1], 0, depth - matrix.shape[-2]))


def _grown_row(row: Tensor, columns: int) -> Tensor:
    return F.pad(row.float(), (0, columns - len(row)))


def _grown_halves(x: Tensor, channels: int) -> Tensor:
    """Append zeros to both halves of the last dimension; (..., 2 n) -> (..., 2 * channels)."""
    halves = x.float().unflatten(-1, (2, -1))
    return F.pad(halves, (0, channels - halves.shape[-1])).flatten(-2)
