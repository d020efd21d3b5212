"""Initial weights of transformers models, for modules that are not loaded."""

import math

import torch
from torch import Tensor, nn
from transformers import initialization as init

from hf_audio_vae.modules.activations import LinearSnake1d
from hf_audio_vae.modules.convnext import ChannelScale
from hf_audio_vae.modules.convolution import (
    GroupNormConv1d,
    GroupNormConvTranspose1d,
    WeightNormConv1d,
    WeightNormConvTranspose1d,
)
from hf_audio_vae.modules.quantization import Codebook


def initialize_weights(module: nn.Module) -> None:
    """Initialize a module that was not loaded: a codebook randomly, DAC's Snake with 1, other layers as in torch."""
    if isinstance(module, WeightNormConv1d | WeightNormConvTranspose1d):
        _init_convolution(module.weight_v, module.bias)
        init.copy_(module.weight_g, torch.linalg.vector_norm(module.weight_v, dim=(1, 2), keepdim=True))
    elif isinstance(module, GroupNormConv1d | GroupNormConvTranspose1d):
        _init_convolution(module.weight, module.bias)
    elif isinstance(module, nn.Conv1d | nn.ConvTranspose1d | nn.Linear | nn.GroupNorm | nn.LayerNorm | nn.LSTM):
        module.reset_parameters()
    elif isinstance(module, ChannelScale):
        init.constant_(module.weight, module.initial)
    elif isinstance(module, LinearSnake1d):
        init.ones_(module.alpha)
    elif isinstance(module, Codebook):
        # Vectors from a checkpoint without an update count are trained: data must not initialize them again.
        loaded = getattr(module.vectors, "_is_hf_initialized", False)
        init.normal_(module.vectors)
        init.ones_(module.counts)
        init.constant_(module.updates, int(loaded))
        if module.learning == "ema":
            init.copy_(module.sums, module.vectors * module.counts[:, None])


def _init_convolution(weight: Tensor, bias: Tensor | None) -> None:
    """Initialize a convolution as torch does."""
    init.kaiming_uniform_(weight, a=math.sqrt(5))
    if bias is not None:
        bound = 1 / math.sqrt(weight[0].numel())
        init.uniform_(bias, -bound, bound)
