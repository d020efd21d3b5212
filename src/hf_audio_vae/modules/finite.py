import torch
from torch import Tensor

from hf_audio_vae.modules.deferral import require


def all_finite(tensor: Tensor) -> Tensor:
    """Return whether no value is NaN or infinite, a bool scalar."""
    lowest, highest = tensor.detach().aminmax()  # NaN propagates to both; no temporary of the waveform's size
    return torch.isfinite(lowest) & torch.isfinite(highest)


def count_not_finite(tensor: Tensor) -> int:
    """Return the number of values that are NaN or infinite."""
    return int((~torch.isfinite(tensor)).sum())


def check_output(output: Tensor, name: str) -> None:
    """Raise `ValueError` if a model gives NaN or infinity for finite inputs."""
    if not output.numel():
        return
    require(
        lambda: all_finite(output),
        lambda: ValueError(
            f"the model's {name} hold {count_not_finite(output)} values that are NaN or infinite: its weights are "
            f"damaged, or the computation overflows {output.dtype}; load other weights, or another dtype."
        ),
    )
