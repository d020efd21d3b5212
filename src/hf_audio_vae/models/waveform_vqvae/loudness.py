from torch import Tensor

QUIETEST = 1e-8  # added, so that silence can be divided by it


def loudness(waveform: Tensor, valid: Tensor | None = None) -> Tensor:
    """Root mean square of the channels' mean, as EnCodec measures it; (batch, channels, time) -> (batch, 1).

    Args:
        waveform (`torch.Tensor` of shape `(batch, channels, time)`): 0 where there is padding.
        valid (`torch.Tensor` of shape `(batch, time)`, *optional*): Where there is sound; everywhere if not given.
    """
    energy = waveform.mean(dim=1).square()  # (batch, time)
    if valid is None:
        return energy.mean(dim=1, keepdim=True).sqrt() + QUIETEST
    return (energy.sum(dim=1, keepdim=True) / valid.sum(dim=1, keepdim=True)).sqrt() + QUIETEST
