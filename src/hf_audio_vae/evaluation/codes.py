"""The health of a codec's codes: how much of each codebook is used, and what the codes carry of what they cost."""

import math
from collections.abc import Sequence
from typing import Any, Protocol, TypeGuard

import torch
from torch import Tensor


class Coded(Protocol):
    """What is read off a model with codebooks."""

    @property
    def codebook_sizes(self) -> tuple[int, ...]:
        """Number of codes of each codebook."""

    @property
    def sampling_rate(self) -> int:
        """In Hz."""

    @property
    def codebook_hop_lengths(self) -> tuple[int, ...]:
        """Samples a code of each codebook."""

    @property
    def bits_per_second(self) -> float:
        """Bitrate of what is decoded; levels of a hierarchy that are not decoded together cost each their own."""


class CodeStatistics:
    """Stream over codes; exact statistics of them, codebook by codebook.

    The codes are counted, each codebook's by themselves, in int64 on the CPU. Entropies are those of the counted
    shares, every frame alike and its neighbours and the other codebooks left out of account: no code of single frames
    needs fewer bits, one that knows of neighbours can.

    Few frames say little of a large codebook: with n of them and K codes, usage is at most ``n / K``, perplexity at
    most n, and the entropy, at most ``log2(n)`` bits, is too low by about ``(K - 1) / (2 n)`` nats (Miller, 1955). The
    summary's `frames_per_code` tells how few they are.

    Args:
        codebook_sizes (`Sequence[int]`): Number of codes of each codebook, 2 or more.
        frame_rates (`Sequence[float]`): Frames a second of each codebook.

    Raises:
        ValueError: There are no codebooks, one has fewer than two codes, a rate is not positive and finite, or there
            are not as many rates as sizes.

    Example:
        >>> statistics = CodeStatistics(codebook_sizes=(4, 4), frame_rates=(50.0, 50.0))
        >>> statistics.add(torch.tensor([[[0, 1, 2, 3], [0, 0, 2, 2]]]))  # (1, 2 codebooks, 4 frames)
        >>> statistics.perplexity.tolist(), statistics.usage.tolist()
        ([4.0, 2.0], [1.0, 0.5])
        >>> statistics.summary()["bitrate_efficiency"]
        0.75
    """

    def __init__(self, codebook_sizes: Sequence[int], frame_rates: Sequence[float]) -> None:
        if not codebook_sizes or min(codebook_sizes) < 2:
            raise ValueError(
                f"`codebook_sizes` is {tuple(codebook_sizes)}; give the model's, each of 2 codes or more."
            )
        if len(frame_rates) != len(codebook_sizes) or not all(0 < rate < math.inf for rate in frame_rates):
            raise ValueError(
                f"`frame_rates` is {tuple(frame_rates)} for {len(codebook_sizes)} codebooks; give a positive number "
                f"of frames a second for each."
            )
        self.codebook_sizes = tuple(codebook_sizes)
        self.frame_rates = tuple(frame_rates)
        self._counts = [torch.zeros(size, dtype=torch.int64) for size in codebook_sizes]

    @classmethod
    def of(cls, model: Coded) -> "CodeStatistics":
        """Start those of a model; each level of a hierarchy has its own frame rate."""
        return cls(model.codebook_sizes, codebook_frame_rates(model))

    def add(self, codes: Tensor | Sequence[Tensor], mask: Tensor | Sequence[Tensor] | None = None) -> None:
        """Take in the codes of one batch.

        Args:
            codes (`torch.Tensor` of shape `(batch, num_codebooks, frames)` or a sequence of them): int64; a sequence
                has one for each level of a hierarchy, each with as many codebooks and frames as the level has.
            mask (`torch.Tensor` of shape `(batch, frames)` or a sequence of them, *optional*): bool, True where there
                is sound; one for each level.

        Raises:
            ValueError: Wrong rank, dtype or number of codebooks, no frames, a mask that does not fit, or codes that
                are in no codebook. Nothing is counted then.
        """
        rows = _by_codebook(codes, mask)
        if len(rows) != len(self.codebook_sizes):
            raise ValueError(
                f"`codes` come from {len(rows)} codebooks, the model has {len(self.codebook_sizes)}; encode with all "
                f"of them."
            )
        for codebook, (row, size) in enumerate(zip(rows, self.codebook_sizes, strict=True)):
            lowest, highest = int(row.min()), int(row.max())
            if lowest < 0 or highest >= size:
                raise ValueError(
                    f"`codes` of codebook {codebook} lie in [{lowest}, {highest}], and it has codes 0 to {size - 1}; "
                    f"use one `CodeStatistics` a model, and a `mask` over padding."
                )
        self._counts = [
            counts + torch.bincount(row, minlength=len(counts)) for counts, row in zip(self._counts, rows, strict=True)
        ]

    @property
    def counts(self) -> tuple[Tensor, ...]:
        """How often each code was seen, int64 (codebook_size,) for each codebook."""
        if not bool(self.frames.all()):
            raise ValueError("there are no codes to describe; `add` those of at least one batch first.")
        return tuple(self._counts)

    @property
    def frames(self) -> Tensor:
        """Frames seen by each codebook, int64 (num_codebooks,)."""
        return torch.stack([counts.sum() for counts in self._counts])

    @property
    def nominal_bits(self) -> Tensor:
        """What a code costs without an entropy coder: log2 of the codebook's size, (num_codebooks,)."""
        return torch.tensor(self.codebook_sizes, dtype=torch.float64).log2()

    @property
    def entropy_bits(self) -> Tensor:
        """Entropy of the codes in bits a frame, (num_codebooks,): ``-Σ p log2 p`` of the counted shares p."""
        shares = [counts.double() / counts.sum() for counts in self.counts]
        return torch.stack([torch.special.entr(share).sum() for share in shares]) / math.log(2)

    @property
    def perplexity(self) -> Tensor:
        """As many equally frequent codes have the same entropy, (num_codebooks,): ``2 ** entropy_bits``."""
        return self.entropy_bits.exp2()

    @property
    def used_codes(self) -> Tensor:
        """How many codes were seen at least once, int64 (num_codebooks,)."""
        return torch.stack([(counts > 0).sum() for counts in self.counts])

    @property
    def dead_codes(self) -> Tensor:
        """How many were never seen, int64 (num_codebooks,)."""
        return torch.tensor(self.codebook_sizes) - self.used_codes

    @property
    def usage(self) -> Tensor:
        """Share of the codes seen at least once, (num_codebooks,)."""
        return self.used_codes.double() / torch.tensor(self.codebook_sizes)

    @property
    def uniform_usage(self) -> Tensor:
        """The usage expected of as many frames if all codes were equally likely, (num_codebooks,).

        ``1 - (1 - 1 / K) ** frames``: a codebook in best health is not expected to show more.
        """
        missed = torch.log1p(-1 / torch.tensor(self.codebook_sizes, dtype=torch.float64)) * self.frames
        return -torch.expm1(missed)

    @property
    def efficiency(self) -> Tensor:
        """Entropy as a share of what the codes cost, (num_codebooks,)."""
        return self.entropy_bits / self.nominal_bits

    @property
    def nominal_bits_per_second(self) -> Tensor:
        """Bitrate without an entropy coder, (num_codebooks,)."""
        return self.nominal_bits * torch.tensor(self.frame_rates, dtype=torch.float64)

    @property
    def entropy_bits_per_second(self) -> Tensor:
        """Bitrate with an ideal coder of single frames, (num_codebooks,)."""
        return self.entropy_bits * torch.tensor(self.frame_rates, dtype=torch.float64)

    @property
    def bitrate_efficiency(self) -> float:
        """Entropy of all codebooks as a share of what their codes cost, 0 to 1.

        At one frame rate the sum of entropies over the sum of log2 K (Kumar et al., 2023, arXiv:2306.06546);
        levels of a hierarchy count by their frame rates.
        """
        return (self.entropy_bits_per_second.sum() / self.nominal_bits_per_second.sum()).item()

    def by_codebook(self) -> dict[str, Tensor]:
        """Return the figures of each codebook by their names here, (num_codebooks,) each."""
        return {
            "frames": self.frames,
            "perplexity": self.perplexity,
            "usage": self.usage,
            "dead_codes": self.dead_codes,
            "entropy_bits": self.entropy_bits,
            "efficiency": self.efficiency,
            "nominal_bits_per_second": self.nominal_bits_per_second,
            "entropy_bits_per_second": self.entropy_bits_per_second,
        }

    def summary(self) -> dict[str, float]:
        """Return the figures of all codebooks together, by their names in `reports.CODE_METRICS`."""
        return {
            "nominal_bits_per_second": self.nominal_bits_per_second.sum().item(),
            "entropy_bits_per_second": self.entropy_bits_per_second.sum().item(),
            "bitrate_efficiency": self.bitrate_efficiency,
            "mean_perplexity": self.perplexity.mean().item(),
            "lowest_usage": self.usage.min().item(),
            "dead_codes": float(self.dead_codes.sum()),
            "frames_per_code": (self.frames / torch.tensor(self.codebook_sizes)).min().item(),
        }


def has_codebooks(model: Any) -> TypeGuard[Coded]:
    """Whether a model has codes: it has `codebook_sizes`, which are empty for one with latents."""
    return bool(model.codebook_sizes)


def codebook_frame_rates(model: Coded) -> tuple[float, ...]:
    """Codes a second of each codebook."""
    return tuple(model.sampling_rate / hop_length for hop_length in model.codebook_hop_lengths)


def usage_warning(statistics: CodeStatistics, min_usage: float) -> str | None:
    """Say in one line which codebooks use too few of their codes, and what to change; `None` if none does.

    Usage is held against what as many frames would show of equally likely codes (`uniform_usage`), so that few frames
    alone are no reason to warn.

    Args:
        statistics (`CodeStatistics`): Of a validation set.
        min_usage (`float`): Share of `uniform_usage`, 0 to 1, under which there is a warning.

    Returns:
        The warning, without a line break, or `None`.

    Raises:
        ValueError: `min_usage` is no share, or no codes have been added.
    """
    if not 0 <= min_usage <= 1:
        raise ValueError(f"`min_usage` is {min_usage}; give a share of the codes, from 0 to 1.")
    wanted = min_usage * statistics.uniform_usage
    used, sizes = statistics.used_codes.tolist(), statistics.codebook_sizes
    poor = (statistics.usage < wanted).nonzero()[:, 0].tolist()
    if not poor:
        return None
    named = ", ".join(f"{codebook} ({used[codebook]} of {sizes[codebook]} codes)" for codebook in poor)
    return (
        f"codes die: {len(poor)} of {len(sizes)} codebooks use less than a share of {min_usage:g} of the codes that "
        f"so many frames could show, codebook {named}; if that lasts, take fewer codes (of finite scalars: fewer "
        f"levels), or, where codebooks are learnt, restart dead codes (`restart_share`), start from the data "
        f"(`kmeans_start`), or look codes up in fewer dimensions (`codebook_dim`)."
    )


def _by_codebook(codes: Tensor | Sequence[Tensor], mask: Tensor | Sequence[Tensor] | None) -> list[Tensor]:
    """(batch, num_codebooks, frames), once or for each level -> (batch * frames,) for each codebook, on the CPU."""
    levels = [codes] if isinstance(codes, Tensor) else list(codes)
    masks: list[Tensor | None] = [None] * len(levels)
    if mask is not None:
        masks = [mask] if isinstance(mask, Tensor) else list(mask)
    if len(masks) != len(levels):
        raise ValueError(f"there are {len(masks)} masks for {len(levels)} levels of codes; give one for each.")
    rows: list[Tensor] = []
    for level, sound in zip(levels, masks, strict=True):
        if level.ndim != 3 or level.dtype != torch.int64 or not level.numel():
            raise ValueError(
                f"`codes` are {level.dtype} of shape {tuple(level.shape)}; give int64 (batch, num_codebooks, frames) "
                f"with at least one frame."
            )
        by_codebook = level.detach().cpu().transpose(0, 1)  # (num_codebooks, batch, frames)
        if sound is not None:
            if sound.dtype != torch.bool or sound.shape != (level.shape[0], level.shape[2]) or not bool(sound.any()):
                raise ValueError(
                    f"`mask` is {sound.dtype} of shape {tuple(sound.shape)} for codes of shape {tuple(level.shape)}; "
                    f"give bool (batch, frames), True in at least one place."
                )
            rows.extend(by_codebook[:, sound.cpu()])
        else:
            rows.extend(by_codebook.flatten(1))
    return rows
