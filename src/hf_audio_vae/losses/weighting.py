from collections.abc import Mapping

import torch
from torch import Tensor

from hf_audio_vae.losses.kl import Schedule


def weighted_sum(terms: Mapping[str, Tensor], weights: Mapping[str, float | Schedule], step: int) -> Tensor:
    """Add up loss terms, each times its weight at this step.

    Args:
        terms (`Mapping[str, torch.Tensor]`): Scalars by name: reconstruction losses and the model's regularisers.
        weights (`Mapping[str, float | Schedule]`): A number or a schedule for every term, by the same names.
        step (`int`): Optimiser step, from 0.

    Returns:
        `torch.Tensor`: The scalar to minimise.

    Raises:
        ValueError: A term has no weight or a weight no term; name a weight of 0 to leave a term out on purpose.

    Example:
        >>> weighted_sum({"l1": torch.tensor(2.0), "kl": torch.tensor(3.0)}, {"l1": 1.0, "kl": 0.1}, step=0)
        tensor(2.3000)
    """
    if terms.keys() != weights.keys():
        raise ValueError(
            f"the terms {sorted(terms)} and the weights {sorted(weights)} have to have the same names; "
            f"a weight of 0 leaves a term out."
        )
    weighted = [term * (weight(step) if callable(weight := weights[name]) else weight) for name, term in terms.items()]
    return torch.stack(weighted).sum()
