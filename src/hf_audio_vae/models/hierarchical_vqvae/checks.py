"""Checks of codes and masks, which are selected by level and compared with each other."""

from collections.abc import Sequence

import torch
from torch import Tensor

from hf_audio_vae.models.inputs import check_codes, check_tensor
from hf_audio_vae.models.padding import valid_mask
from hf_audio_vae.modules.integers import is_integer

Given = Sequence[Tensor] | Tensor


def check_level(level: int, num_levels: int) -> None:
    """Raise `ValueError` unless there is such a level."""
    if not is_integer(level, least=0, most=num_levels - 1):
        raise ValueError(f"`level` is {level!r}; the model has the levels 0, the finest, to {num_levels - 1}.")


def level_path(level: int | None, num_levels: int, joint: bool) -> tuple[int, ...]:
    """Return the levels to decode from: `level`, or if not given, all levels or the finest."""
    if level is None:
        return tuple(range(num_levels)) if joint else (0,)
    check_level(level, num_levels)
    return (level,)


def picked(given: Given, level: int | None, path: tuple[int, ...], num_levels: int, name: str) -> list[Tensor]:
    """Return the tensors of the levels of a path, from a tuple of all levels or the one tensor of `level`."""
    if isinstance(given, Tensor):
        if level is None and num_levels > 1:
            raise ValueError(f"`{name}` is one tensor, not a tuple of {num_levels} levels; pass its `level`.")
        return [given]
    if not isinstance(given, list | tuple):
        raise ValueError(
            f"`{name}` is a {type(given).__name__}; pass a tuple of tensors, or one tensor and its `level`."
        )
    if len(given) != num_levels:
        raise ValueError(
            f"`{name}` holds {len(given)} levels, the model has {num_levels}; pass all of them, finest first, or one "
            f"tensor and its `level`."
        )
    return [given[index] for index in path]


def check_levels(codes: Sequence[Tensor], path: tuple[int, ...], ratios: tuple[int, ...], codebook_size: int) -> None:
    """Raise `ValueError` unless codes (batch, 1, frames) are codebook indices with lengths that fit the last level.

    `ratios` are the frames of each level per frame of the last.
    """
    check_tensor(codes[-1], "audio_codes")
    batch, _, frames = codes[-1].shape if codes[-1].ndim == 3 else (0, 0, 0)
    for level, level_codes, ratio in zip(path, codes, ratios, strict=True):
        check_codes(level_codes, (codebook_size,))
        expected = (batch, 1, frames * ratio)
        if tuple(level_codes.shape) != expected:
            raise ValueError(
                f"`audio_codes` of level {level} has shape {tuple(level_codes.shape)}, expected {expected} for the "
                f"coarsest level's {tuple(codes[-1].shape)}; pass codes that `encode` returned together."
            )


def common_mask(masks: Sequence[Tensor], codes: Sequence[Tensor], ratios: tuple[int, ...]) -> Tensor:
    """Return the last level's mask, bool (batch, frames); `ValueError` where another level's does not agree."""
    shapes = [(level.shape[0], level.shape[-1]) for level in codes]
    flat = [valid_mask(mask, *shape, "audio_codes_mask") for mask, shape in zip(masks, shapes, strict=True)]
    counts = flat[-1].sum(dim=1)
    for mask, ratio in zip(flat, ratios, strict=True):
        if not torch.equal(mask.sum(dim=1), ratio * counts):
            raise ValueError(
                f"`audio_codes_mask` holds {mask.sum(dim=1).tolist()} codes of one level, which is not {ratio} times "
                f"the coarsest level's {counts.tolist()}; pass the masks that `encode` returned."
            )
    return flat[-1]
