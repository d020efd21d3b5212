"""The health of what lies between encoder and decoder, in one voice for latents and for codes."""

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
    """What is read off any model; off one with codebooks what `codes.Coded` has."""

    @property
    def frame_rate(self) -> float:
        """Frames a second."""


class Health(ABC):
    """Stream over a model's outputs; what they tell of its bottleneck. Made by `health_of`."""

    name: str  # of its files, figures and tables

    @abstractmethod
    def add(self, output: object) -> None:
        """Take in what the model, or its `encode`, returns for one batch.

        Raises:
            ValueError: The output is that of another kind of model, or not healthy enough to be measured.
        """

    @property
    @abstractmethod
    def frames(self) -> int:
        """Frames seen, in a hierarchy those of the level with the most."""

    @abstractmethod
    def summary(self) -> dict[str, float]:
        """Return the figures of everything together, by the names that reports have labels for."""

    @abstractmethod
    def warning(self, min_active_share: float) -> str | None:
        """Say in one line that too little of it is used, and what to change; `None` if enough is.

        Args:
            min_active_share (`float`): Share of the channels that are to be active, or of each codebook's codes that
                are to be used, 0 to 1.
        """

    @abstractmethod
    def table(self) -> str:
        """Return a table with a row for each latent channel or codebook."""

    @abstractmethod
    def figure(self, title: str = "") -> "Figure":
        """Draw it."""

    @abstractmethod
    def numbers(self) -> dict[str, object]:
        """Return every figure, fit for JSON."""


class LatentHealth(Health):
    """That of a VAE's latents.

    Args:
        frame_rate (`float`): Latent frames a second.
    """

    name = "latents"

    def __init__(self, frame_rate: float) -> None:
        self.statistics = LatentStatistics(frame_rate)

    def add(self, output: object) -> None:
        """Take in an output's `latent_dist`."""
        self.statistics.add(_field(output, "latent_dist"))

    @property
    def frames(self) -> int:
        """Frames seen."""
        return self.statistics.frames

    def summary(self) -> dict[str, float]:
        """See `LatentStatistics.summary`."""
        return self.statistics.summary()

    def warning(self, min_active_share: float) -> str | None:
        """See `collapse_warning`."""
        return collapse_warning(self.statistics, min_active_share)

    def table(self) -> str:
        """See `channels_table`."""
        return channels_table(self.statistics)

    def figure(self, title: str = "") -> "Figure":
        """See `latents_figure`."""
        return latents_figure(self.statistics, title)

    def numbers(self) -> dict[str, object]:
        """Return every figure; channels are in their own order."""
        return {
            "frames": self.statistics.frames,
            "frame_rate": self.statistics.frame_rate,
            "summary": self.summary(),
            "channels": _lists(self.statistics.by_channel()),
            "eigenvalues": self.statistics.eigenvalues.tolist(),
        }


class CodeHealth(Health):
    """That of a codec's codes.

    Args:
        statistics (`CodeStatistics`): To add to.
    """

    name = "codes"

    def __init__(self, statistics: CodeStatistics) -> None:
        self.statistics = statistics

    def add(self, output: object) -> None:
        """Take in an output's `audio_codes`, where its `audio_codes_mask` is True if it has one."""
        self.statistics.add(_field(output, "audio_codes"), getattr(output, "audio_codes_mask", None))

    @property
    def frames(self) -> int:
        """Frames seen, of the codebook that saw the most."""
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
        """Return every figure; codebooks are in their own order."""
        return {
            "frame_rates": list(self.statistics.frame_rates),
            "codebook_sizes": list(self.statistics.codebook_sizes),
            "summary": self.summary(),
            "codebooks": _lists(self.statistics.by_codebook()),
        }


def health_of(model: Framed) -> Health:
    """Start the health of a model: of its codes if it has `codebook_sizes`, else of its latents."""
    if has_codebooks(model):
        return CodeHealth(CodeStatistics.of(model))
    return LatentHealth(model.frame_rate)


def _field(output: object, name: str) -> Any:
    value = getattr(output, name, None)
    if value is None:
        raise ValueError(f"a {type(output).__name__} has no `{name}`; use `health_of` the model that returned it.")
    return value


def _lists(figures: Mapping[str, Tensor]) -> dict[str, list[float]]:
    return {name: values.tolist() for name, values in figures.items()}
