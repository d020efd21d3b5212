"""Statistics of a codec's codes: codebook usage, perplexity, entropy and bitrate efficiency."""

import math
from collections.abc import Mapping, Sequence
from typing import Any, Protocol, TypeGuard

import torch
from torch import Tensor


class Coded(Protocol):
    """Attributes that are read from a model with codebooks."""

    @property
    def codebook_sizes(self) -> tuple[int, ...]:
        """Number of codes of each codebook."""

    @property
    def sampling_rate(self) -> int:
        """Sampling rate in Hz."""

    @property
    def codebook_hop_lengths(self) -> tuple[int, ...]:
        """Samples per code, for each codebook."""

    @property
    def bits_per_second(self) -> float:
        """Bitrate of the codes that `decode` reads; only one level if a hierarchy decodes each level separately."""


class CodeStatistics:
    """Streaming, exact statistics of codes, for each codebook.

    Codes are counted per codebook, in int64 on the CPU. Entropies are computed from relative frequencies: all frames
    count equally, and dependence on neighbouring frames and on other codebooks is ignored. An entropy coder of single
    frames cannot need fewer bits. A coder that uses neighbouring frames can.

    Few frames underestimate a large codebook. With n frames and K codes, usage is at most ``n / K`` and perplexity at
    most n. The entropy is at most ``log2(n)`` bits and too low by about ``(K - 1) / (2 n)`` nats (Miller, 1955).
    `frames_per_code` in the summary is the number of frames per code.

    Args:
        codebook_sizes (`Sequence[int]`): Number of codes of each codebook, 2 or more.
        frame_rates (`Sequence[float]`): Frames per second of each codebook.

    Raises:
        ValueError: There are no codebooks, a codebook has fewer than two codes, a rate is not positive and finite, or
            the numbers of rates and sizes differ.

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
                f"`codebook_sizes` is {tuple(codebook_sizes)}; give the model's sizes, each of 2 codes or more."
            )
        if len(frame_rates) != len(codebook_sizes) or not all(0 < rate < math.inf for rate in frame_rates):
            raise ValueError(
                f"`frame_rates` is {tuple(frame_rates)} for {len(codebook_sizes)} codebooks; give a positive number "
                f"of frames per second for each."
            )
        self.codebook_sizes = tuple(codebook_sizes)
        self.frame_rates = tuple(frame_rates)
        self._counts = [torch.zeros(size, dtype=torch.int64) for size in codebook_sizes]

    @classmethod
    def of(cls, model: Coded) -> "CodeStatistics":
        """Return empty statistics for a model; each level of a hierarchy has its own frame rate."""
        return cls(model.codebook_sizes, codebook_frame_rates(model))

    def add(self, codes: Tensor | Sequence[Tensor], mask: Tensor | Sequence[Tensor] | None = None) -> None:
        """Add the codes of one batch.

        Args:
            codes (`torch.Tensor` of shape `(batch, num_codebooks, frames)` or a sequence of them): int64. A sequence
                has one tensor per level of a hierarchy, each with the codebooks and frames of its level.
            mask (`torch.Tensor` of shape `(batch, frames)` or a sequence of them, *optional*): bool, False at padding;
                one mask per level.

        Raises:
            ValueError: Wrong rank, dtype or number of codebooks, no frames, a mask that does not fit, or codes outside
                their codebook. Nothing is counted in that case.
        """
        codes_by_codebook = _by_codebook(codes, mask)
        if len(codes_by_codebook) != len(self.codebook_sizes):
            raise ValueError(
                f"`codes` come from {len(codes_by_codebook)} codebooks, the model has "
                f"{len(self.codebook_sizes)}; encode with all codebooks."
            )
        for codebook, (indices, size) in enumerate(zip(codes_by_codebook, self.codebook_sizes, strict=True)):
            lowest, highest = int(indices.min()), int(indices.max())
            if lowest < 0 or highest >= size:
                raise ValueError(
                    f"`codes` of codebook {codebook} lie in [{lowest}, {highest}], but it has codes 0 to {size - 1}; "
                    f"use one `CodeStatistics` per model, and a `mask` for padding."
                )
        self._counts = [
            counts + torch.bincount(indices, minlength=len(counts))
            for counts, indices in zip(self._counts, codes_by_codebook, strict=True)
        ]

    def state_dict(self) -> dict[str, Tensor]:
        """Return the counts as tensors, for `add_state_dict`."""
        return {str(codebook): counts for codebook, counts in enumerate(self._counts)}

    def add_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Add the codes that other statistics of the same model have counted.

        Args:
            state (`Mapping`): From `state_dict`.
        """
        self._counts = [counts + state[str(codebook)] for codebook, counts in enumerate(self._counts)]

    @property
    def counts(self) -> tuple[Tensor, ...]:
        """Count of each code, int64 (codebook_size,) for each codebook."""
        if not bool(self.frames.all()):
            raise ValueError("there are no codes to describe; `add` those of at least one batch first.")
        return tuple(self._counts)

    @property
    def frames(self) -> Tensor:
        """Number of frames of each codebook, int64 (num_codebooks,)."""
        return torch.stack([counts.sum() for counts in self._counts])

    @property
    def nominal_bits(self) -> Tensor:
        """Bits per code without an entropy coder, (num_codebooks,): log2 of the codebook size."""
        return torch.tensor(self.codebook_sizes, dtype=torch.float64).log2()

    @property
    def entropy_bits(self) -> Tensor:
        """Entropy of the codes in bits per frame, (num_codebooks,): ``-Σ p log2 p`` of the relative frequencies p."""
        frequencies = [counts.double() / counts.sum() for counts in self.counts]
        return torch.stack([torch.special.entr(p).sum() for p in frequencies]) / math.log(2)

    @property
    def perplexity(self) -> Tensor:
        """Effective number of codes, (num_codebooks,): ``2 ** entropy_bits``."""
        return self.entropy_bits.exp2()

    @property
    def used_codes(self) -> Tensor:
        """Number of codes used at least once, int64 (num_codebooks,)."""
        return torch.stack([(counts > 0).sum() for counts in self.counts])

    @property
    def dead_codes(self) -> Tensor:
        """Number of codes never used, int64 (num_codebooks,)."""
        return torch.tensor(self.codebook_sizes) - self.used_codes

    @property
    def usage(self) -> Tensor:
        """Share of the codes used at least once, (num_codebooks,)."""
        return self.used_codes.double() / torch.tensor(self.codebook_sizes)

    @property
    def uniform_usage(self) -> Tensor:
        """Expected usage for the same number of frames if all codes were equally likely, (num_codebooks,).

        ``1 - (1 - 1 / K) ** frames``. This is the highest usage that can be expected.
        """
        log_unused = torch.log1p(-1 / torch.tensor(self.codebook_sizes, dtype=torch.float64)) * self.frames
        return -torch.expm1(log_unused)

    @property
    def efficiency(self) -> Tensor:
        """Entropy divided by the nominal bits of a code, (num_codebooks,)."""
        return self.entropy_bits / self.nominal_bits

    @property
    def nominal_bits_per_second(self) -> Tensor:
        """Bitrate without an entropy coder, (num_codebooks,)."""
        return self.nominal_bits * torch.tensor(self.frame_rates, dtype=torch.float64)

    @property
    def entropy_bits_per_second(self) -> Tensor:
        """Bitrate with an ideal entropy coder of single frames, (num_codebooks,)."""
        return self.entropy_bits * torch.tensor(self.frame_rates, dtype=torch.float64)

    @property
    def bitrate_efficiency(self) -> float:
        """Entropy of all codebooks divided by their nominal bitrate, 0 to 1.

        With a single frame rate, this is the sum of entropies over the sum of log2 K (Kumar et al., 2023,
        arXiv:2306.06546). Levels of a hierarchy are weighted by their frame rates.
        """
        return (self.entropy_bits_per_second.sum() / self.nominal_bits_per_second.sum()).item()

    def by_codebook(self) -> dict[str, Tensor]:
        """Return the per-codebook statistics by property name, (num_codebooks,) each."""
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
        """Return the statistics over all codebooks, with the keys of `reports.CODE_METRICS`."""
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
    """Whether a model has codes. Its `codebook_sizes` are empty if it has continuous latents."""
    return bool(model.codebook_sizes)


def codebook_frame_rates(model: Coded) -> tuple[float, ...]:
    """Codes per second of each codebook."""
    return tuple(model.sampling_rate / hop_length for hop_length in model.codebook_hop_lengths)


def usage_warning(statistics: CodeStatistics, min_usage: float) -> str | None:
    """Return a one-line warning that names codebooks with too low usage and the remedy; `None` if there are none.

    Usage is compared with the usage expected of equally likely codes (`uniform_usage`), so a small number of frames
    does not cause a warning.

    Args:
        statistics (`CodeStatistics`): Statistics of a validation set.
        min_usage (`float`): Warn if usage is below this share of `uniform_usage`, 0 to 1.

    Returns:
        The warning, without a line break, or `None`.

    Raises:
        ValueError: `min_usage` is not in 0 to 1, or no codes have been added.
    """
    if not 0 <= min_usage <= 1:
        raise ValueError(f"`min_usage` is {min_usage}; give a share of the codes, from 0 to 1.")
    required = min_usage * statistics.uniform_usage
    used, sizes = statistics.used_codes.tolist(), statistics.codebook_sizes
    underused = (statistics.usage < required).nonzero()[:, 0].tolist()
    if not underused:
        return None
    named = ", ".join(f"{codebook} ({used[codebook]} of {sizes[codebook]} codes)" for codebook in underused)
    return (
        f"the codebooks collapse: {len(underused)} of {len(sizes)} codebooks use less than a share of {min_usage:g} "
        f"of the codes expected for this number of frames: codebook {named}. If this persists, use fewer codes (for "
        f"finite scalar quantization, fewer levels). For learnt codebooks, restart dead codes (`restart_share`), "
        f"initialize from the data (`kmeans_start`), or search codes in fewer dimensions (`codebook_dim`)."
    )


def _by_codebook(codes: Tensor | Sequence[Tensor], mask: Tensor | Sequence[Tensor] | None) -> list[Tensor]:
    """(batch, num_codebooks, frames), one tensor or one per level -> (batch * frames,) per codebook, on the CPU."""
    levels = [codes] if isinstance(codes, Tensor) else list(codes)
    masks: list[Tensor | None] = [None] * len(levels)
    if mask is not None:
        masks = [mask] if isinstance(mask, Tensor) else list(mask)
    if len(masks) != len(levels):
        raise ValueError(f"there are {len(masks)} masks for {len(levels)} levels of codes; give one per level.")
    codes_by_codebook: list[Tensor] = []
    for level, level_mask in zip(levels, masks, strict=True):
        if level.ndim != 3 or level.dtype != torch.int64 or not level.numel():
            raise ValueError(
                f"`codes` are {level.dtype} of shape {tuple(level.shape)}; give int64 (batch, num_codebooks, frames) "
                f"with at least one frame."
            )
        by_codebook = level.detach().cpu().transpose(0, 1)  # (num_codebooks, batch, frames)
        if level_mask is not None:
            expected = (level.shape[0], level.shape[2])
            if level_mask.dtype != torch.bool or level_mask.shape != expected or not bool(level_mask.any()):
                raise ValueError(
                    f"`mask` is {level_mask.dtype} of shape {tuple(level_mask.shape)} for codes of shape "
                    f"{tuple(level.shape)}; give bool (batch, frames), True in at least one place."
                )
            codes_by_codebook.extend(by_codebook[:, level_mask.cpu()])
        else:
            codes_by_codebook.extend(by_codebook.flatten(1))
    return codes_by_codebook
