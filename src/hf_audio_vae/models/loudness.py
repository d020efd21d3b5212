import torch
from torch import Tensor

QUIETEST = 1e-8  # added to avoid a division by 0 for silence


def loudness(waveform: Tensor, valid: Tensor | None = None) -> Tensor:
    """Root mean square of the channels' mean, as EnCodec measures it; (batch, channels, time) -> (batch, 1).

    The result is float32 or higher: in float16, `QUIETEST` and the squares of a quiet sound are 0.

    Args:
        waveform (`torch.Tensor` of shape `(batch, channels, time)`): 0 where there is padding.
        valid (`torch.Tensor` of shape `(batch, time)`, *optional*): Where there is sound; everywhere if not given.
    """
    dtype = torch.promote_types(waveform.dtype, torch.float32)
    energy = waveform.to(dtype).mean(dim=1).square()  # (batch, time)
    if valid is None:
        return energy.mean(dim=1, keepdim=True).sqrt() + QUIETEST
    return (energy.sum(dim=1, keepdim=True) / valid.sum(dim=1, keepdim=True)).sqrt() + QUIETEST


def scaled(waveform: Tensor, scales: Tensor) -> Tensor:
    """Multiply each item by its scale, (batch, 1), in the precision of the scales; the waveform keeps its dtype."""
    return (waveform * scales[..., None]).to(waveform.dtype)
