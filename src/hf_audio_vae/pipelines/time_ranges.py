"""Time ranges to inpaint, in seconds and in latent frames."""

import math
from collections.abc import Sequence
from typing import cast

import numpy as np
import torch
from torch import Tensor

from hf_audio_vae.pipelines.arguments import finite

TimeRange = tuple[float, float]
ROUNDING = 1e-6  # tolerance in frames or seconds for the rounding of whole numbers


def time_ranges(mask: TimeRange | Sequence[TimeRange] | None, seconds: float) -> list[TimeRange]:
    """Return one or several ranges as a list.

    Raises:
        ValueError: A range is out of order, or not within 0 to `seconds`.
    """
    if mask is None or len(mask) == 0:
        return []
    pairs = cast(list[TimeRange], [mask] if np.ndim(mask[0]) == 0 else list(mask))
    if any(len(pair) != 2 for pair in pairs):
        raise ValueError(f"`mask` is {mask!r}; give a range (start, end) in seconds, or a list of them.")
    ranges = [(finite("mask", start), finite("mask", end)) for start, end in pairs]
    for start, end in ranges:
        if not 0 <= start < end <= seconds + ROUNDING:
            raise ValueError(f"`mask` holds ({start:g}, {end:g}); give ranges (start, end) within 0 to {seconds:g} s.")
    return ranges


def kept_frames(ranges: Sequence[TimeRange], frames: int, frame_rate: float) -> Tensor:
    """Return a mask, bool (frames,), that is True at frames outside all ranges."""
    kept = torch.ones(frames, dtype=torch.bool)
    for start, end in ranges:
        kept[math.floor(start * frame_rate + ROUNDING) : math.ceil(end * frame_rate - ROUNDING)] = False
    return kept
