import math
from collections.abc import Iterator

import torch.nn.functional as F
from torch import Tensor


def frame_count(time: int, hop_length: int) -> int:
    """Number of frames of `hop_length` samples that cover `time` samples; the last one may be partial."""
    return (time + hop_length - 1) // hop_length  # not -(-a // b): ONNX rounds towards zero


def units_of(option: str, seconds: float, rate: float, unit: str = "sample", *, at_most: bool = False) -> int:
    """Return the samples, or other units, of a duration that a user gives.

    Args:
        option (`str`): Name of the option in messages.
        seconds (`float`): Its value.
        rate (`float`): Units per second.
        unit (`str`): What is counted.
        at_most (`bool`): The duration is a maximum: a part of a unit is left out, not rounded.

    Raises:
        ValueError: The duration is less than one unit, or not finite.

    Example:
        >>> units_of("max_seconds", 1e-9, 16000)
        Traceback (most recent call last):
        ...
        ValueError: `max_seconds` is 1e-09, less than one sample at 16000 Hz; give 6.25e-05 or more.
        >>> units_of("seconds", 0.19, 10, "frame"), units_of("seconds", 0.19, 10, "frame", at_most=True)
        (2, 1)
    """
    count = seconds * rate
    if not math.isfinite(count):
        raise ValueError(f"`{option}` is {seconds:g}, too long; give a number of seconds such as 30.")
    units = math.floor(round(count, 6)) if at_most else round(count)  # 0.3 s at 10 Hz are 3 units, not 2.9999
    if units < 1:
        raise ValueError(
            f"`{option}` is {seconds:g}, less than one {unit} at {rate:g} Hz; give {1 / rate:.3g} or more."
        )
    return units


def pad_to_frames(waveform: Tensor, hop_length: int) -> Tensor:
    """Append zeros up to a whole frame; (..., time) -> (..., frames * hop_length)."""
    time = waveform.shape[-1]
    return F.pad(waveform, (0, frame_count(time, hop_length) * hop_length - time))


def blocks_with_margins(time: int, block_length: int, margin: int) -> Iterator[tuple[range, range]]:
    """Yield the samples of each block, and those of the block with margins inside the signal.

    All blocks have `block_length` samples but the last, which has at least ``4 * margin`` unless it is the only one.
    """
    starts = range(0, max(time - 4 * margin, 1), block_length)
    for start in starts:
        stop = time if start == starts[-1] else start + block_length
        yield range(start, stop), range(max(start - margin, 0), min(stop + margin, time))
