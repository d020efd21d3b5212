import torch.nn.functional as F
from torch import Tensor


def frame_count(time: int, hop_length: int) -> int:
    """Number of frames of `hop_length` samples that cover `time` samples; the last one may be partial."""
    return (time + hop_length - 1) // hop_length  # not -(-a // b): ONNX rounds towards zero


def pad_to_frames(waveform: Tensor, hop_length: int) -> Tensor:
    """Append zeros up to a whole frame; (..., time) -> (..., frames * hop_length)."""
    time = waveform.shape[-1]
    return F.pad(waveform, (0, frame_count(time, hop_length) * hop_length - time))
