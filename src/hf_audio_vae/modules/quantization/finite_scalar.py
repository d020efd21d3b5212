import math
from itertools import accumulate
from operator import mul

import torch
from torch import Tensor

from hf_audio_vae.modules.convolution import WeightNormConv1d
from hf_audio_vae.modules.quantization.gradients import straight_through
from hf_audio_vae.modules.quantization.output import QuantizerOutput
from hf_audio_vae.modules.quantization.quantizer import Generators, Quantizer

MARGIN = 1e-3  # margin of the outer levels, so that tanh reaches them


class FiniteScalarQuantizer(Quantizer):
    """A few numbers per frame, each rounded to a fixed number of levels (Mentzer et al., 2023, arXiv:2309.15505).

    The grid of levels is the codebook, so no codebook is learned or can collapse, and there is no loss. Each number is
    bounded by tanh and rounded. The code is the mixed-radix number of the rounded values, the first one changing
    fastest.

    Args:
        channels (`int`): Latent channels, projected to `len(levels)` numbers.
        levels (`tuple[int, ...]`): Number of values of each number, at least 3: of 2 values one is almost never used.

    Raises:
        ValueError: `levels` is empty or has an element below 3.
    """

    def __init__(self, channels: int, levels: tuple[int, ...]) -> None:
        super().__init__()
        if not levels or min(levels) < 3:
            raise ValueError(f"`levels` is {levels}; give at least one number, each with 3 values or more.")
        self.channels, self.levels = channels, tuple(levels)
        self.in_proj = WeightNormConv1d(channels, len(levels), 1)
        self.out_proj = WeightNormConv1d(len(levels), channels, 1)

    @property
    def codebook_sizes(self) -> tuple[int, ...]:
        """Number of codes, the product of the levels, in a tuple of length 1."""
        return (math.prod(self.levels),)

    @property
    def dtype(self) -> torch.dtype:
        """Dtype of the projections."""
        return self.out_proj.weight_v.dtype

    def _quantize(self, latents: Tensor, mask: Tensor | None, count: int, generator: Generators) -> QuantizerOutput:
        """`mask` and `generator` are unused: there is no learning, sampling or loss."""
        projected = self.in_proj(latents)
        bounded = self._bound(projected)
        digits = bounded.detach().round()
        values = straight_through(bounded / self._halves(bounded), self._values(digits)).to(latents.dtype)
        finite = projected.detach().isfinite().all(dim=1, keepdim=True)
        quantized = torch.where(finite, self.out_proj(values), torch.nan)
        return QuantizerOutput(quantized, self._codes(digits.nan_to_num()))

    def _search(self, latents: Tensor, count: int) -> tuple[Tensor, Tensor]:
        projected = self.in_proj(latents)
        return self._codes(self._bound(projected).round().nan_to_num()), projected.isfinite().all(dim=1)

    def _look_up(self, codes: Tensor) -> Tensor:
        levels = self._column(self.levels, codes)
        digits = codes // self._bases(codes) % levels - levels // 2
        return self.out_proj(self._values(digits.to(torch.promote_types(self.dtype, torch.float32))).to(self.dtype))

    def _bound(self, x: Tensor) -> Tensor:
        """Bound numbers (batch, dim, frames) so that they round to `levels` integers around zero."""
        x = x.to(torch.promote_types(x.dtype, torch.float32))
        levels = self._column(self.levels, x)
        half = (levels - 1) * (1 + MARGIN) / 2
        offset = (levels % 2 == 0).to(x.dtype) * 0.5  # an even number of integers has no middle one
        return torch.tanh(x + torch.atanh(offset / half)) * half - offset

    def _values(self, digits: Tensor) -> Tensor:
        """Scale integers to [-1, 1]."""
        return digits / self._halves(digits)

    def _halves(self, like: Tensor) -> Tensor:
        return self._column(tuple(level // 2 for level in self.levels), like)

    def _codes(self, digits: Tensor) -> Tensor:
        """(batch, dim, frames) -> (batch, 1, frames)."""
        shifted = digits.to(torch.int64) + self._column(tuple(level // 2 for level in self.levels), digits.long())
        return (shifted * self._bases(shifted)).sum(dim=1, keepdim=True)

    def _bases(self, like: Tensor) -> Tensor:
        return self._column(tuple(accumulate(self.levels[:-1], mul, initial=1)), like)

    @staticmethod
    def _column(values: tuple[int, ...], like: Tensor) -> Tensor:
        return torch.tensor(values, dtype=like.dtype, device=like.device)[:, None]
