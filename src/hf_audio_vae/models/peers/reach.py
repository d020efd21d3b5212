"""Measurement of the frames that an output of a network depends on, by gradients."""

import copy
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

LENGTHS = (32, 128, 512)  # frames of the signals that are tried
MAX_REACH = LENGTHS[-1] // 2 - 1  # frames to one side
MIDDLE_FRAMES = 2  # frames whose gradients are taken
TOLERANCE = 1e-4  # of the largest value; a position that matters changes more


@dataclass(frozen=True)
class Reach:
    """Frames before and after a frame that its output depends on."""

    before: int
    after: int


def measured_reach(network: nn.Module, draw: Callable[[int], Tensor], out_rate: int) -> Reach:
    """Return the reach of a network over frames; it is the same at all positions of a signal.

    Weights in half precision are converted, since small gradients would vanish there.

    Args:
        network (`torch.nn.Module`): From (batch, in, frames * in_rate) to (batch, out, frames * out_rate).
        draw (`Callable[[int], torch.Tensor]`): Returns a random float32 input with this number of frames.
        out_rate (`int`): Outputs per frame.

    Raises:
        ValueError: An output depends on more than 255 frames to one side, as with attention or normalisation over the
            whole signal; or results depend on the position in the signal.
    """
    if next(network.parameters()).dtype not in (torch.float32, torch.float64):
        network = copy.deepcopy(network).float()
    was_training = {module: module.training for module in network.modules()}
    network.eval()
    try:
        with torch.random.fork_rng(devices=[]), torch.enable_grad():
            torch.manual_seed(0)
            return _measured(network, draw, out_rate)
    finally:
        for module, mode in was_training.items():
            module.training = mode


def _measured(network: nn.Module, draw: Callable[[int], Tensor], out_rate: int) -> Reach:
    for frames in LENGTHS:
        x = draw(frames)
        read = _frames_read(network, x, frames, out_rate)
        first, last = int(read[0]), int(read[-1])
        if first > 0 and last < frames - 1:
            _check_position(network, x, frames, out_rate)
            middle = frames // 2
            return Reach(middle - first, max(last - (middle + MIDDLE_FRAMES - 1), 0))
    raise ValueError(
        f"every output depends on the whole signal, or on more than {MAX_REACH} frames to one side; code "
        f"signals as a whole."
    )


def _frames_read(network: nn.Module, x: Tensor, frames: int, out_rate: int) -> Tensor:
    """Return the indices of the frames that the middle frames depend on."""
    x = x.requires_grad_()
    output = network(x)
    start = frames // 2 * out_rate
    middle = output[..., start : start + MIDDLE_FRAMES * out_rate]
    (gradient,) = torch.autograd.grad((middle * torch.randn_like(middle)).sum(), x)
    return gradient.detach().unflatten(-1, (frames, -1)).abs().amax(dim=(0, 1, 3)).nonzero()[:, 0]


def _check_position(network: nn.Module, x: Tensor, frames: int, out_rate: int) -> None:
    """Raise `ValueError` unless the middle frames are the same in a signal without its first frame."""
    with torch.no_grad():
        whole, later = network(x), network(x[..., x.shape[-1] // frames :])
    start, stop = frames // 2 * out_rate, (frames // 2 + MIDDLE_FRAMES) * out_rate
    error = (whole[..., start:stop] - later[..., start - out_rate : stop - out_rate]).abs().max()
    if error > TOLERANCE * whole.abs().max():
        raise ValueError("results depend on the position in the signal; code signals as a whole.")
