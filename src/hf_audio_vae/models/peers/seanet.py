"""Paddings of transformers' SEANet convolutions (those of Mimi and its relatives), computed from shapes alone.

The original computes them from buffers. On a GPU, each layer then waits for the device, and torch.export does not know
their values.
"""

from functools import partial
from typing import Any

from torch import Tensor, nn


def compute_paddings_from_shapes(model: nn.Module) -> None:
    """Replace `forward` of each padded convolution of a model by one with the same results."""
    for module in model.modules():
        if hasattr(module, "_get_extra_padding_for_conv1d"):
            layer: Any = module
            layer.forward = partial(_padded_convolution, layer)


def _padded_convolution(layer: Any, x: Tensor, padding_cache: Any = None) -> Tensor:
    """Pad, to a whole number of strides, and convolve; (batch, in, time) -> (batch, out, ceil(time / stride))."""
    if padding_cache is not None:
        return type(layer).forward(layer, x, padding_cache)
    (kernel,), (dilation,), (stride,) = layer.conv.kernel_size, layer.conv.dilation, layer.conv.stride
    total, missing = (kernel - 1) * dilation + 1 - stride, -x.shape[-1] % stride
    right = 0 if layer.causal else total // 2
    return layer.conv(layer._pad1d(x, (total - right, right + missing), mode=layer.pad_mode))
