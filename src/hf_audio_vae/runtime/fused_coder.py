"""The inference form of a model: compiled kernels, or copies of its networks with folded weights."""

import copy
import logging
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from hf_audio_vae.audio.framing import frame_count
from hf_audio_vae.modules.convolution import fold_weight_norm
from hf_audio_vae.modules.deferral import require
from hf_audio_vae.modules.stack import layers_of
from hf_audio_vae.runtime.chunking import Frames
from hf_audio_vae.runtime.coders import Coder, Coding, WholeCoder
from hf_audio_vae.runtime.forking import survive_forks
from hf_audio_vae.runtime.fused.stack import FusedStack
from hf_audio_vae.runtime.fused.wavenet import compile_wavenets
from hf_audio_vae.runtime.native import native_kernels

logger = logging.getLogger(__name__)

SAMPLED_WEIGHTS = 8  # number of parameters whose first value is compared at each call


@dataclass(frozen=True)
class FusedNetwork:
    """The inference form of an encoder or a decoder, with a copy of its weights.

    Args:
        kernels (`FusedStack`, *optional*): Its layers on compiled kernels.
        folded (`torch.nn.Module`, *optional*): A copy with folded weights; exactly one of the two is given.
        weights (`WeightsSnapshot`): Detects later changes.
    """

    kernels: FusedStack | None
    folded: nn.Module | None
    weights: "WeightsSnapshot"


class WeightsSnapshot:
    """A snapshot of a network's weights that detects changes.

    torch counts writes to a parameter, but not writes to its `.data`, which averages of weights use. Therefore, the
    first values of some parameters are compared as well. Their number is the same for large and small networks.
    """

    def __init__(self, network: nn.Module) -> None:
        # By layer and name, since `load_state_dict(..., assign=True)` replaces the parameters.
        self._names = [
            (layer, name) for layer in network.modules() for name, _ in layer.named_parameters(recurse=False)
        ]
        self._counts, self._values = self._read()

    def check(self) -> None:
        """Raise `ValueError` if the weights have changed."""
        counts, values = self._read()
        if counts != self._counts:
            if not self._moved_to_shared_memory(counts):
                raise _changed_weights()
            self._counts = counts
        require(lambda: _equal(self._values, values), _changed_weights)

    def _moved_to_shared_memory(self, counts: list[tuple[int, int]]) -> bool:
        """Return whether only addresses have changed, as when torch sends the weights to another process."""
        are_unwritten = all(new == old for (_, new), (_, old) in zip(counts, self._counts, strict=True))
        return are_unwritten and all(getattr(layer, name).is_shared() for layer, name in self._names)

    def _read(self) -> tuple[list[tuple[int, int]], Tensor]:
        """Address and counted writes of each parameter, and the first value of some."""
        parameters = [getattr(layer, name) for layer, name in self._names]
        sampled = parameters[:: max(len(parameters) // SAMPLED_WEIGHTS, 1)]
        counts = [(p.data_ptr(), 0 if p.is_inference() else p._version) for p in parameters]
        return counts, torch.stack([p.detach().flatten()[0].float() for p in sampled])


class FusedCoder:
    """Runs the fused form of each network while no gradients are recorded, and the model's own layers otherwise.

    Copies of a model are not fused: the form belongs to the original weights.

    Args:
        layers (`WholeCoder`): Runs the layers, and networks without kernels.
        networks (`dict[torch.nn.Module, FusedNetwork]`): The fused form of each network.
    """

    def __init__(self, layers: WholeCoder, networks: dict[nn.Module, FusedNetwork]) -> None:
        self.layers, self.networks = layers, networks

    def __deepcopy__(self, memo: dict[int, object]) -> WholeCoder:
        return copy.deepcopy(self.layers, memo)

    def __reduce__(self) -> tuple[Callable[[WholeCoder], WholeCoder], tuple[WholeCoder]]:
        return _layers_alone, (self.layers,)

    def with_layers(self, layers: WholeCoder) -> Coder:
        """Return this coder with `layers` to run the model's own layers."""
        return FusedCoder(layers, self.networks)

    def network(self, network: nn.Module) -> nn.Module:
        """As `Coder`: the copy with folded weights, if there is one."""
        form = self._form(network, None)
        return network if form is None or form.folded is None else form.folded

    def encode(self, coding: Coding, waveform: Tensor) -> Any:
        """As `Coder`."""
        survive_forks()
        form = self._form(coding.network, waveform)
        if form is None:
            return self.layers.encode(coding, waveform)
        if form.kernels is None:
            return self.layers.encode(_folded(coding, form), waveform)
        frames = frame_count(waveform.shape[-1], coding.hop_length)
        return coding.after(form.kernels(waveform, frames * coding.hop_length))

    def encode_pieces(self, coding: Coding, read: Callable[[int, int], Tensor], time: int) -> Iterator[Any]:
        """As `Coder`."""
        form = self._form(coding.network, None)
        if form is None or form.kernels is None:
            layer_coding = coding if form is None else _folded(coding, form)
            return self.layers.encode_pieces(layer_coding, read, time)
        length = frame_count(time, coding.hop_length) * coding.hop_length
        chunk = min(self.layers.piece_frames(coding, time), form.kernels.default_chunk(length))
        dtype = next(coding.network.parameters()).dtype
        return (coding.after(piece.to(dtype)) for piece in form.kernels.chunks(read, time, length, chunk))

    def decode(self, coding: Coding, frames: Frames) -> Tensor:
        """As `Coder`."""
        survive_forks()
        form = self._form(coding.network, frames if isinstance(frames, Tensor) else frames[-1])
        if form is None:
            return self.layers.decode(coding, frames)
        if form.kernels is None:
            return self.layers.decode(_folded(coding, form), frames)
        return form.kernels(coding.before(frames))

    def _form(self, network: nn.Module, x: Tensor | None) -> FusedNetwork | None:
        """Return the fused form for `x`, or `None` to run the layers.

        Raises:
            ValueError: The weights have changed since they were fused.
        """
        form = self.networks.get(network)
        if form is None or torch.is_grad_enabled() or torch.compiler.is_compiling():
            return None
        weight = next(network.parameters())
        if x is not None and x.is_floating_point() and (x.dtype, x.device) != (weight.dtype, weight.device):
            return None  # the layers raise the error
        form.weights.check()
        return form


@torch.no_grad()
def fused(networks: Iterable[nn.Module]) -> dict[nn.Module, FusedNetwork]:
    """Make the fused form of networks.

    Weight norm is folded. On a CPU with a C compiler, convolutions and Snakes in float32 or bfloat16 run on compiled
    kernels.
    """
    forms = {}
    for network in networks:
        kernels = _kernel_stack(network)
        folded = _with_folded_weights(network) if kernels is None else None
        if kernels is not None or folded is not None:
            forms[network] = FusedNetwork(kernels, folded, WeightsSnapshot(network))
    return forms


def _kernel_stack(network: nn.Module) -> FusedStack | None:
    """Return the layers on compiled kernels, or `None` if a layer has none."""
    weight = next(network.parameters())
    kernels = native_kernels(weight.dtype) if weight.device.type == "cpu" else None
    layers = layers_of(network)
    if kernels is None or layers is None:
        return None
    try:
        return FusedStack(layers, kernels)
    except ValueError as error:
        logger.debug("%s keeps torch's layers: %s", type(network).__name__, error)
        return None


def _with_folded_weights(network: nn.Module) -> nn.Module | None:
    """Return a copy with folded weights, or `None` if there is nothing to fold."""
    folded = copy.deepcopy(network)
    return folded if fold_weight_norm(folded) + compile_wavenets(folded) else None


def _folded(coding: Coding, form: FusedNetwork) -> Coding:
    return coding if form.folded is None else replace(coding, network=form.folded)


def _layers_alone(layers: WholeCoder) -> WholeCoder:
    return layers


def _equal(a: Tensor, b: Tensor) -> Tensor:
    return ((a == b) | (a.isnan() & b.isnan())).all()


def _changed_weights() -> ValueError:
    return ValueError(
        "the weights have changed since `fuse()`, which copied them; call `fuse()` again, or `unfuse()` before "
        "training, loading or moving weights."
    )
