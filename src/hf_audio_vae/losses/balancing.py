import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor


class GradientBalancer:
    """Gives each loss a fixed share of the gradient, independent of its scale (EnCodec, arXiv:2210.13438, eq. 5).

    The gradient at the reconstruction is ``total_norm * sum(w_i / sum(w) * g_i / <|g_i|>)``: a weight is the share of
    its loss, and `<|g_i|>` is a moving average of the gradient norm per item. Unlike in the paper, the result depends
    neither on the split of a batch between processes and accumulation steps nor on its other items: norms are computed
    per item, and a step uses the averages of the previous steps. A loss without an average is only measured and
    contributes from the next step on, so the first step of a run trains only the terms that are not balanced.

    Args:
        decay (`float`): Share of the average that a step keeps, in [0, 1).
        total_norm (`float`): Gradient norm of an item if the gradients of all losses had the same direction.

    Raises:
        ValueError: An argument is out of range.

    Example:
        >>> waveform = torch.zeros(1, 1, 4, requires_grad=True)
        >>> for scale in (1.0, 1000.0):  # measured, then balanced
        ...     balancer = GradientBalancer()
        ...     for _ in range(2):
        ...         total, norms = balancer({"l1": scale * waveform.sum()}, {"l1": 1.0}, waveform)
        ...         balancer.update({name: norm.item() for name, norm in norms.items()})
        ...     torch.autograd.grad(total, waveform)[0].norm()
        tensor(1.)
        tensor(1.)
    """

    def __init__(self, *, decay: float = 0.999, total_norm: float = 1.0) -> None:
        if not (0 <= decay < 1 and 0 < total_norm < math.inf):
            raise ValueError(f"`decay` is {decay} and `total_norm` {total_norm}; they lie in [0, 1) and above 0.")
        self.decay = decay
        self.total_norm = total_norm
        self.norms: dict[str, float] = {}
        self.steps: dict[str, int] = {}

    def __call__(
        self, terms: Mapping[str, Tensor], weights: Mapping[str, float], waveform: Tensor
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Measure and balance the gradients.

        Args:
            terms (`Mapping[str, torch.Tensor]`): Scalar losses of `waveform`, each a mean over items.
            weights (`Mapping[str, float]`): Shares by the same names.
            waveform (`torch.Tensor` of shape `(batch, audio_channels, time)`): The reconstruction.

        Returns:
            A scalar whose gradient with respect to `waveform` is the balanced gradient, and each term's mean norm for
            `update`. The value of the scalar is meaningless, but NaN if any term's gradient is not finite.
        """
        total_weight = sum(weights.values()) or 1.0
        norms, balanced = {}, torch.zeros_like(waveform)
        for name, term in terms.items():
            if weights[name] == 0:
                continue
            (gradient,) = torch.autograd.grad(term, waveform, retain_graph=True)
            # The term is a mean over items, so the gradient of an item's loss is `batch` times this gradient.
            norms[name] = len(waveform) * torch.linalg.vector_norm(gradient.float(), dim=(1, 2)).mean()
            if average := self._average(name):
                balanced = balanced + self.total_norm * weights[name] / total_weight / average * gradient
        zero_or_nan = sum(0 * norm for norm in norms.values())
        return (balanced * waveform).sum() + zero_or_nan, norms

    def update(self, norms: Mapping[str, float]) -> None:
        """Update the averages with a step's mean norms over all of its batches and processes."""
        for name, norm in norms.items():
            self.norms[name] = self.decay * self.norms.get(name, 0.0) + (1 - self.decay) * norm
            self.steps[name] = self.steps.get(name, 0) + 1

    def _average(self, name: str) -> float:
        """Bias-corrected moving average; 0 if there is none."""
        steps = self.steps.get(name, 0)
        return self.norms[name] / (1 - self.decay**steps) if steps else 0.0

    def state_dict(self) -> dict[str, Any]:
        """Return the averages, JSON-serialisable."""
        return {"norms": self.norms, "steps": self.steps}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore the averages."""
        self.norms, self.steps = dict(state["norms"]), dict(state["steps"])
