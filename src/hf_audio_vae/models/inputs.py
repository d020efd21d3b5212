"""Checks of the inputs and configurations of all autoencoders; each error names the wrong value and a remedy."""

import math
from collections.abc import Iterable

import numpy as np
import torch
from torch import Tensor

from hf_audio_vae.modules.deferral import require
from hf_audio_vae.modules.finite import all_finite, count_not_finite
from hf_audio_vae.modules.integers import is_integer

LARGEST = 2**24  # of any single size; a larger one is a mistake, and could fill the memory
LAYERS = 1024  # of a kind


def check_waveform(waveform: Tensor, audio_channels: int) -> None:
    """Raise `ValueError` unless `waveform` is a finite float (batch, audio_channels, time), time >= 1."""
    _check(waveform, "waveform", "(batch, audio_channels, time)", audio_channels, "mix the channels down or up, or")


def check_latents(latents: Tensor, latent_channels: int) -> None:
    """Raise `ValueError` unless `latents` is a finite float (batch, latent_channels, frames), frames >= 1."""
    _check(latents, "latents", "(batch, latent_channels, frames)", latent_channels, "encode them with this model, or")


def check_codes(codes: Tensor, codebook_sizes: tuple[int, ...]) -> None:
    """Raise `ValueError` unless `codes` are integers (batch, n, frames), indices of the first n codebooks."""
    check_tensor(codes, "audio_codes")
    if codes.ndim != 3:
        raise ValueError(
            f"`audio_codes` has shape {tuple(codes.shape)}, expected (batch, num_codebooks, frames); "
            f"add or merge dimensions."
        )
    if codes.is_floating_point() or codes.is_complex() or codes.dtype == torch.bool:
        raise ValueError(f"`audio_codes` has dtype {codes.dtype}; pass the int64 codes that `encode` returns.")
    if 0 in codes.shape:
        raise ValueError(f"`audio_codes` has shape {tuple(codes.shape)}; every dimension has to be 1 or more.")
    if codes.shape[1] > len(codebook_sizes):
        raise ValueError(
            f"`audio_codes` has {codes.shape[1]} codebooks, the model {len(codebook_sizes)}; "
            f"encode them with this model, or load a {codes.shape[1]}-codebook model."
        )
    require(lambda: _in_range(codes, codebook_sizes), lambda: _code_error(codes, codebook_sizes))


def _extremes(codes: Tensor) -> tuple[Tensor, Tensor]:
    """Lowest and highest code of each codebook, (num_codebooks,) twice."""
    codes = codes.long()  # torch has no `amin` of uint16
    return codes.amin(dim=(0, 2)), codes.amax(dim=(0, 2))


def _in_range(codes: Tensor, codebook_sizes: tuple[int, ...]) -> Tensor:
    lows, highs = _extremes(codes)
    return torch.stack([(lows[q] >= 0) & (highs[q] < codebook_sizes[q]) for q in range(len(lows))]).all()


def _code_error(codes: Tensor, codebook_sizes: tuple[int, ...]) -> ValueError:
    lows, highs = (extremes.tolist() for extremes in _extremes(codes))
    for index, (lowest, highest, size) in enumerate(zip(lows, highs, codebook_sizes, strict=False)):
        if lowest < 0 or highest >= size:
            wrong = lowest if lowest < 0 else highest
            return ValueError(
                f"`audio_codes` holds {wrong} for codebook {index}, which has the codes 0 to {size - 1}; leave out "
                f"values that are not codes, such as padding or the special tokens of a language model."
            )
    raise AssertionError("all codes are in range")


def check_sampling_rate(sampling_rate: int | None, expected: int) -> None:
    """Raise `ValueError` if a sampling rate is given and is not the model's."""
    if sampling_rate is not None and sampling_rate != expected:
        raise ValueError(
            f"the waveform has a `sampling_rate` of {sampling_rate} Hz, the model works at {expected} Hz; "
            f"resample it first, for instance with `hf_audio_vae.audio.resample`."
        )


def check_tile_frames(tile_frames: int | None) -> None:
    """Raise `ValueError` if a chunk is given no frames."""
    if tile_frames is not None and not is_integer(tile_frames, least=1):
        raise ValueError(f"`tile_frames` is {tile_frames!r}; give an integer of at least 1 frame.")


def check_sizes(**sizes: object) -> None:
    """Raise `ValueError` unless each value is an integer from 1 to `LARGEST`; a bool is none."""
    for name, value in sizes.items():
        if not is_integer(value, least=1, most=LARGEST):
            raise ValueError(f"`{name}` is {value!r}; it has to be an integer of 1 or more, at most {LARGEST}.")


def check_size_lists(**lists: object) -> None:
    """Raise `ValueError` unless each value is a list or tuple of 1 to `LAYERS` sizes, see `check_sizes`."""
    for name, values in lists.items():
        if not isinstance(values, list | tuple):
            raise ValueError(f"`{name}` is {values!r}; give a list of integers.")
        if not 1 <= len(values) <= LAYERS:
            raise ValueError(f"`{name}` has {len(values)} numbers; give at least 1 and at most {LAYERS}.")
        if not all(is_integer(value, least=1, most=LARGEST) for value in values):
            raise ValueError(f"`{name}` is {values!r}; each has to be an integer of 1 or more, at most {LARGEST}.")


def check_layers(**counts: int) -> None:
    """Raise `ValueError` if a number of layers is above `LAYERS`."""
    for name, count in counts.items():
        if count > LAYERS:
            raise ValueError(f"`{name}` is {count}; a model has at most {LAYERS} layers of a kind.")


def check_product(name: str, factors: Iterable[int | float]) -> None:
    """Raise `ValueError` if a size that follows from others is above `LARGEST`."""
    factors = tuple(factors)
    if not math.prod(factors) <= LARGEST:
        raise ValueError(f"the {name} is {' * '.join(map(str, factors))}, above {LARGEST}; reduce a factor.")


def check_codebook(codebook_size: int, ema_decay: float, restart_share: float | None) -> None:
    """Raise `ValueError` unless a codebook's size, decay and restart share are in range."""
    if not 2 <= codebook_size <= LARGEST:
        raise ValueError(f"`codebook_size` is {codebook_size}; it has to be 2 or more, at most {LARGEST}.")
    if not 0 <= ema_decay < 1:
        raise ValueError(f"`ema_decay` is {ema_decay}; it has to be at least 0 and less than 1.")
    if restart_share is not None and not 0 < restart_share < 1:
        raise ValueError(
            f"`restart_share` is {restart_share}; it has to be between 0 and 1, or `None` for no restarts."
        )


def check_tensor(tensor: object, name: str) -> None:
    """Raise `ValueError` unless `tensor` is a dense tensor."""
    if not isinstance(tensor, Tensor):
        remedy = "torch.from_numpy" if isinstance(tensor, np.ndarray) else "torch.as_tensor"
        raise ValueError(f"`{name}` is a {type(tensor).__name__}, not a tensor; convert it, as with `{remedy}`.")
    if tensor.layout != torch.strided:
        raise ValueError(f"`{name}` has the layout {tensor.layout}; make it dense with `to_dense()`.")


def _check(tensor: Tensor, name: str, layout: str, channels: int, remedy: str) -> None:
    check_tensor(tensor, name)
    if tensor.ndim != 3:
        raise ValueError(f"`{name}` has shape {tuple(tensor.shape)}, expected {layout}; add or merge dimensions.")
    if tensor.shape[1] != channels:
        raise ValueError(
            f"`{name}` has {tensor.shape[1]} channels, the model {channels}; "
            f"{remedy} load a {tensor.shape[1]}-channel model."
        )
    check_finite(tensor, name)


def check_finite(tensor: Tensor, name: str) -> None:
    """Raise `ValueError` unless `tensor` holds floats, at least one, and all of them are finite."""
    if 0 in tensor.shape:
        raise ValueError(f"`{name}` has shape {tuple(tensor.shape)}; every dimension has to be 1 or more.")
    if not tensor.is_floating_point():
        raise ValueError(
            f"`{name}` has dtype {tensor.dtype}; convert it to floats, and divide PCM samples by their full scale."
        )
    require(lambda: all_finite(tensor), lambda: _not_finite_error(tensor, name))


def _not_finite_error(tensor: Tensor, name: str) -> ValueError:
    bad = count_not_finite(tensor)
    return ValueError(f"`{name}` holds {bad} values that are NaN or infinite; repair or leave out the item.")
