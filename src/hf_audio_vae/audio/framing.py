from collections.abc import Iterator

import torch.nn.functional as F
from torch import Tensor


def frame_count(time: int, hop_length: int) -> int:
    """Number of frames of `hop_length` samples that cover `time` samples; the last one may be partial."""
    return (time + hop_length - 1) // hop_length  # not -(-a // b): ONNX rounds towards zero


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
