"""Batches of sounds of different lengths: items are coded in groups of equal length, so none hears its padding."""

from collections.abc import Callable

import torch
from torch import Tensor

from hf_audio_vae.models.inputs import check_waveform


def valid_mask(mask: Tensor, batch: int, length: int, name: str) -> Tensor:
    """Return a mask as bool (batch, length).

    Args:
        mask (`torch.Tensor` of shape `(batch, length)` or `(batch, 1, length)`): True or 1 where there is sound.
        batch (`int`): Items there are.
        length (`int`): Places there are.
        name (`str`): The argument's, for errors.

    Raises:
        ValueError: Wrong shape or values, padding elsewhere than at the end, or an item that is nothing else.
    """
    flat = mask[:, 0] if mask.ndim == 3 and mask.shape[1] == 1 else mask
    if flat.shape != (batch, length):
        raise ValueError(f"`{name}` has shape {tuple(mask.shape)}, expected ({batch}, {length}), as what it masks.")
    valid = flat.bool()
    if flat.dtype != torch.bool and not torch.equal(valid.to(flat.dtype), flat):
        raise ValueError(f"`{name}` holds values other than 0 and 1; pass True where there is sound.")
    if bool((valid[:, 1:] & ~valid[:, :-1]).any()):
        raise ValueError(f"`{name}` has sound after padding; padding has to be on the right only.")
    silent = (~valid[:, 0]).nonzero().flatten().tolist()
    if silent:
        raise ValueError(f"`{name}` masks all of the items {silent}; leave them out.")
    return valid


def checked_waveform(
    waveform: Tensor, padding_mask: Tensor | None, audio_channels: int
) -> tuple[Tensor, Tensor | None]:
    """Refuse what is no waveform; return it with 0 for padding, whatever that held, and the mask (batch, time)."""
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
    """Run `code` on items of equal length at a time, without what is beyond; zeros where there is no item.

    Args:
        code (`Callable[[torch.Tensor], torch.Tensor]`): (batch, in, n * rate_in) -> (batch, out, n * rate_out).
        x (`torch.Tensor` of shape `(batch, in, frames * rate_in)`): All items.
        valid (`torch.Tensor` of shape `(batch, frames)`, *optional*): Which frames an item has; all, if not given.
        rate_in (`int`): Values a frame of the input.
        rate_out (`int`): Values a frame of the output.
    """
    if valid is None:
        return code(x)
    counts = valid.sum(dim=1)
    for place, count in enumerate(counts.unique().tolist()):
        items = (counts == count).nonzero().flatten()
        coded = code(x[items, :, : count * rate_in])
        if place == 0:
            output = coded.new_zeros(x.shape[0], coded.shape[1], valid.shape[1] * rate_out)
        output[items, :, : count * rate_out] = coded
    return output
