from collections.abc import Collection, Mapping

import torch
from torch import Tensor


def weighted_sum(terms: Mapping[str, Tensor], weights: Mapping[str, float | Tensor]) -> Tensor:
    """Weighted sum of loss terms.

    Args:
        terms (`Mapping[str, torch.Tensor]`): Scalars, or vectors that are summed, by name: reconstruction losses and
            the model's regularisers.
        weights (`Mapping[str, float | torch.Tensor]`): Numbers, or vectors of the term's length, by the same names.

    Returns:
        `torch.Tensor`: The scalar to minimise; 0 if there are no terms.

    Raises:
        ValueError: A term has no weight, or a weight no term.

    Example:
        >>> kl = torch.tensor([3.0, 5.0])  # of two latent channels
        >>> weighted_sum({"l1": torch.tensor(2.0), "kl": kl}, {"l1": 1.0, "kl": torch.tensor([0.1, 0.0])})
        tensor(2.3000)
    """
    check_names(terms, weights)
    total = torch.zeros(())
    for name, term in terms.items():
        weight = weights[name]
        factor = weight.to(term.device, non_blocking=True) if isinstance(weight, Tensor) else weight
        total = total + (term * factor).sum()
    return total


def check_names(terms: Collection[str], weights: Collection[str]) -> None:
    """Check that terms and weights have the same names.

    Args:
        terms (`Collection[str]`): Names of the loss terms.
        weights (`Collection[str]`): Names of the weights.

    Raises:
        ValueError: A term has no weight, or a weight no term.
    """
    if without_weight := sorted(set(terms) - set(weights)):
        raise ValueError(f"the terms {without_weight} have no weight; give one to each, 0 to leave a term out.")
    if without_term := sorted(set(weights) - set(terms)):
        options = " ".join(f"--weights.{name} null" for name in without_term)
        raise ValueError(
            f"there is no term for the weights {without_term}; remove them, on the command line with `{options}`. The "
            f"terms are {sorted(terms)}."
        )
