"""Batches of sounds of different lengths: items are coded in groups of equal length, without their padding."""

from collections.abc import Callable

import torch
from torch import Tensor

from hf_audio_vae.models.inputs import check_tensor, check_waveform


def valid_mask(mask: Tensor, batch: int, length: int, name: str) -> Tensor:
    """Return a mask as bool (batch, length).

    Args:
        mask (`torch.Tensor` of shape `(batch, length)` or `(batch, 1, length)`): True or 1 where there is sound.
        batch (`int`): Number of items.
        length (`int`): Samples or frames per item.
        name (`str`): Name of the argument, for errors.

    Raises:
        ValueError: Wrong shape or values, padding that is not at the end, or an item of only padding.
    """
    check_tensor(mask, name)
    flat = mask[:, 0] if mask.ndim == 3 and mask.shape[1] == 1 else mask
    if flat.shape != (batch, length):
        raise ValueError(f"`{name}` has shape {tuple(mask.shape)}, expected ({batch}, {length}).")
    valid = flat.bool()
    if flat.dtype != torch.bool and not torch.equal(valid.to(flat.dtype), flat):
        raise ValueError(f"`{name}` holds values other than 0 and 1; pass True where there is sound.")
    if bool((valid[:, 1:] & ~valid[:, :-1]).any()):
        raise ValueError(f"`{name}` has sound after padding; padding has to be on the right only.")
    silent = (~valid[:, 0]).nonzero().flatten().tolist()
    if silent:
        raise ValueError(f"`{name}` marks all of the items {silent} as padding; leave these items out.")
    return valid


def checked_waveform(
    waveform: Tensor, padding_mask: Tensor | None, audio_channels: int
) -> tuple[Tensor, Tensor | None]:
    """Check a waveform; return it with padding set to 0, and the mask (batch, time)."""
    check_tensor(waveform, "waveform")
    if padding_mask is None or waveform.ndim != 3:
        check_waveform(waveform, audio_channels)
        return waveform, None
    valid = valid_mask(padding_mask, waveform.shape[0], waveform.shape[-1], "padding_mask")
    waveform = waveform.masked_fill(~valid[:, None], 0)
    check_waveform(waveform, audio_channels)
    return waveform, valid


def by_length(
    code: Callable[[Tensor], Tensor], x: Tensor, valid: Tensor | None, rate_in: int, rate_out: int
) -> Tensor:
    """Run `code` on groups of items of equal length, without their padding; the output is 0 for padding.

    Args:
        code (`Callable[[torch.Tensor], torch.Tensor]`): (batch, in, n * rate_in) -> (batch, out, n * rate_out).
        x (`torch.Tensor` of shape `(batch, in, frames * rate_in)`): All items.
        valid (`torch.Tensor` of shape `(batch, frames)`, *optional*): Valid frames of each item; all if not given.
        rate_in (`int`): Input values per frame.
        rate_out (`int`): Output values per frame.
    """
    if valid is None:
        return code(x)
    counts = valid.sum(dim=1)
    for index, count in enumerate(counts.unique().tolist()):
        items = (counts == count).nonzero().flatten()
        coded = code(x[items, :, : count * rate_in])
        if index == 0:
            output = coded.new_zeros(x.shape[0], coded.shape[1], valid.shape[1] * rate_out)
        output[items, :, : count * rate_out] = coded
    return output
