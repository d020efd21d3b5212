"""Common interface for the statistics of latents and of codes."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Protocol

from torch import Tensor

from hf_audio_vae.evaluation.codes import CodeStatistics, has_codebooks, usage_warning
from hf_audio_vae.evaluation.latents import LatentStatistics, collapse_warning
from hf_audio_vae.evaluation.plots import codes_figure, latents_figure
from hf_audio_vae.evaluation.reports import channels_table, codebooks_table

if TYPE_CHECKING:
    from matplotlib.figure import Figure


class Framed(Protocol):
    """Attributes that are read from any model. A model with codebooks also has those of `codes.Coded`.

    A model whose recipes have another option for the weight of the KL than `weights.kl` names it in `kl_option`.
    """

    @property
    def frame_rate(self) -> float:
        """Frames per second."""


class Statistics(Protocol):
    """Streaming sums over latents or codes."""

    def state_dict(self) -> dict[str, Tensor]:
        """Return all sums."""

    def add_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Add the sums of other statistics of the same model."""


class Health(ABC):
    """Streaming statistics of a model's bottleneck. Create one with `health_of`."""

    name: str  # used for files, figures and tables
    statistics: Statistics

    def state_dict(self) -> dict[str, Tensor]:
        """Return all sums as tensors."""
        return self.statistics.state_dict()

    def add_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Add what another `Health` of the same model has seen."""
        self.statistics.add_state_dict(state)

    @abstractmethod
    def add(self, output: object) -> None:
        """Add the output of the model, or of its `encode`, for one batch.

        Raises:
            ValueError: The output is of another kind of model, or has values that cannot be measured.
        """

    @property
    @abstractmethod
    def frames(self) -> int:
        """Number of frames; for a hierarchy, of the level with the most frames."""

    @abstractmethod
    def summary(self) -> dict[str, float]:
        """Return the overall statistics, by the metric names that reports have labels for."""

    @abstractmethod
    def warning(self, min_active_share: float) -> str | None:
        """Return a one-line warning, with the remedy, if too few channels or codes are used, else `None`.

        Args:
            min_active_share (`float`): Required share of active channels, or of used codes in each codebook, 0 to 1.
        """

    @abstractmethod
    def table(self) -> str:
        """Return a table with a row for each latent channel or codebook."""

    @abstractmethod
    def figure(self, title: str = "") -> "Figure":
        """Draw the statistics."""

    @abstractmethod
    def numbers(self) -> dict[str, object]:
        """Return all statistics as JSON-serializable values."""


class LatentHealth(Health):
    """Statistics of a VAE's latents.

    Args:
        frame_rate (`float`): Latent frames per second.
        weight (`str`): Option of the model's recipe for the weight of the KL.
    """

    name = "latents"

    statistics: LatentStatistics

    def __init__(self, frame_rate: float, weight: str = "weights.kl") -> None:
        self.statistics = LatentStatistics(frame_rate)
        self.weight = weight

    def add(self, output: object) -> None:
        """Add the `latent_dist` of an output."""
        self.statistics.add(_field(output, "latent_dist"))

    @property
    def frames(self) -> int:
        """Number of frames."""
        return self.statistics.frames

    def summary(self) -> dict[str, float]:
        """See `LatentStatistics.summary`."""
        return self.statistics.summary()

    def warning(self, min_active_share: float) -> str | None:
        """See `collapse_warning`."""
        return collapse_warning(self.statistics, min_active_share, self.weight)

    def table(self) -> str:
        """See `channels_table`."""
        return channels_table(self.statistics)

    def figure(self, title: str = "") -> "Figure":
        """See `latents_figure`."""
        return latents_figure(self.statistics, title)

    def numbers(self) -> dict[str, object]:
        """Return all statistics; channels are in index order."""
        return {
            "frames": self.statistics.frames,
            "frame_rate": self.statistics.frame_rate,
            "summary": self.summary(),
            "channels": _lists(self.statistics.by_channel()),
            "eigenvalues": self.statistics.eigenvalues.tolist(),
        }


class CodeHealth(Health):
    """Statistics of a codec's codes.

    Args:
        statistics (`CodeStatistics`): Statistics that outputs are added to.
    """

    name = "codes"

    statistics: CodeStatistics

    def __init__(self, statistics: CodeStatistics) -> None:
        self.statistics = statistics

    def add(self, output: object) -> None:
        """Add the `audio_codes` of an output; with an `audio_codes_mask`, only where it is True."""
        self.statistics.add(_field(output, "audio_codes"), getattr(output, "audio_codes_mask", None))

    @property
    def frames(self) -> int:
        """Number of frames of the codebook with the most frames."""
        return int(self.statistics.frames.max())

    def summary(self) -> dict[str, float]:
        """See `CodeStatistics.summary`."""
        return self.statistics.summary()

    def warning(self, min_active_share: float) -> str | None:
        """See `usage_warning`."""
        return usage_warning(self.statistics, min_active_share)

    def table(self) -> str:
        """See `codebooks_table`."""
        return codebooks_table(self.statistics)

    def figure(self, title: str = "") -> "Figure":
        """See `codes_figure`."""
        return codes_figure(self.statistics, title)

    def numbers(self) -> dict[str, object]:
        """Return all statistics; codebooks are in index order."""
        return {
            "frame_rates": list(self.statistics.frame_rates),
            "codebook_sizes": list(self.statistics.codebook_sizes),
            "summary": self.summary(),
            "codebooks": _lists(self.statistics.by_codebook()),
        }


def health_of(model: Framed) -> Health:
    """Return empty statistics for a model: of its codes if it has `codebook_sizes`, else of its latents."""
    if has_codebooks(model):
        return CodeHealth(CodeStatistics.of(model))
    return LatentHealth(model.frame_rate, getattr(model, "kl_option", "weights.kl"))


def _field(output: object, name: str) -> Any:
    value = getattr(output, name, None)
    if value is None:
        raise ValueError(f"a {type(output).__name__} has no `{name}`; use `health_of` the model that returned it.")
    return value


def _lists(figures: Mapping[str, Tensor]) -> dict[str, list[float]]:
    return {name: values.tolist() for name, values in figures.items()}
