"""Figures of all models and seeds: means and paired differences with intervals, and rankings."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import combinations
from typing import Any

from hf_audio_vae.evaluation.intervals import Interval, ranking, student_interval
from hf_audio_vae.evaluation.reports import table

LABELS = {
    "gain_bits": "denoising gain (bits a latent number)",
    "gain_kbits": "denoising gain (kbit/s)",
    "learnt_kbits": "learnt divergence from white noise, at least (kbit/s)",
}  # where more is more structure; of distances, less is better
FINDINGS = (
    "From best to worst, or from most to least gain and divergence; `>` if the 95 % interval of the difference "
    "excludes 0, else `≈`:"
)
LARGEST_RATIO = 1.1  # of latent numbers a second that compare


@dataclass(frozen=True)
class Measured:
    """Figures of a model.

    Attributes:
        runs (`Sequence[Mapping[str, float]]`): Figures of each seed.
        reconstructions (`Mapping[str, float]`): Figures of the reconstructions of held-out sounds.
        numbers_per_second (`float`): Latent numbers a second.
    """

    runs: Sequence[Mapping[str, float]]
    reconstructions: Mapping[str, float]
    numbers_per_second: float


class Diffusability:
    """Figures of all models.

    The intervals are Student's intervals over seeds. A seed decides the weights, the batches and the noise of the
    denoiser. The autoencoder, the training clips and the held-out clips are the same for all seeds. Differences are
    paired by seed, and their intervals are not adjusted for the number of pairs.

    Args:
        measured (`Mapping[str, Measured]`): Figures by model.

    Attributes:
        means (`dict`): Interval of each figure, by model and figure.
        differences (`dict`): Interval of the first model minus the second, by figure and pair of models.
    """

    def __init__(self, measured: Mapping[str, Measured]) -> None:
        self.measured = dict(measured)
        self.means = {
            name: {figure: student_interval([run[figure] for run in model.runs]) for figure in model.runs[0]}
            for name, model in self.measured.items()
        }
        figures = next(iter(self.means.values()))
        self.differences = {
            figure: {pair: self._difference(figure, *pair) for pair in combinations(self.measured, 2)}
            for figure in figures
        }

    @property
    def warning(self) -> str | None:
        """Warning if the models differ in their latent numbers a second by more than 10 %, else `None`."""
        rates = {name: model.numbers_per_second for name, model in self.measured.items()}
        if max(rates.values()) <= LARGEST_RATIO * min(rates.values()):
            return None
        listed = ", ".join(f"{name} {rate:.0f}" for name, rate in rates.items())
        return (
            f"warning: the models differ in their latent numbers a second ({listed}); more numbers reconstruct better "
            f"and are harder to generate, so that the figures also compare rates."
        )

    def findings(self) -> dict[str, str]:
        """Return one sentence for each figure on the differences that hold, see `ranking`."""
        return {figure: self._finding(figure) for figure in self.differences if len(self.measured) > 1}

    def numbers(self) -> dict[str, Any]:
        """Return everything as JSON-serializable values."""
        return {
            "models": {name: asdict(model) for name, model in self.measured.items()},
            "means": {name: {f: asdict(i) for f, i in means.items()} for name, means in self.means.items()},
            "differences": {
                figure: [{"first": a, "second": b, **asdict(i)} for (a, b), i in pairs.items()]
                for figure, pairs in self.differences.items()
            },
            "findings": self.findings(),
            "warning": self.warning,
        }

    def rows(self) -> list[list[str | float]]:
        """Return model, figure, mean, and both ends of its interval, for each model and figure."""
        return [
            [name, figure, interval.mean, interval.low, interval.high]
            for name, means in self.means.items()
            for figure, interval in means.items()
        ]

    def markdown(self) -> str:
        """Return tables and findings as Markdown."""
        seeds = len(next(iter(self.measured.values())).runs)
        parts = [self._figures()]
        if len(self.measured) > 1:
            parts += [self._differences(), FINDINGS]
            parts.append("\n".join(f"- {_label(figure)}: {text}" for figure, text in self.findings().items()))
        parts.append(f"In brackets: interval of 95 % over {seeds} seeds, Student's t; differences are paired by seed.")
        return "\n\n".join(parts + ([self.warning] if self.warning else []))

    def _difference(self, figure: str, first: str, second: str) -> Interval:
        runs = zip(self.measured[first].runs, self.measured[second].runs, strict=True)
        return student_interval([a[figure] - b[figure] for a, b in runs])

    def _finding(self, figure: str) -> str:
        higher = figure in LABELS
        order = sorted(self.means, key=lambda name: self.means[name][figure].mean, reverse=higher)
        return ranking(order, self.differences[figure], higher_is_better=higher)

    def _figures(self) -> str:
        rows = []
        for figure in self.differences:
            rows.append([_label(figure), *(_cell(means[figure]) for means in self.means.values())])
            if figure not in LABELS:
                ceilings = (f"{model.reconstructions[figure]:.3f}" for model in self.measured.values())
                rows.append([f"{_label(figure)}, of reconstructions", *ceilings])
        rates = (f"{model.numbers_per_second:.0f}" for model in self.measured.values())
        return table(["figure", *self.measured], [*rows, ["latent numbers a second", *rates]])

    def _differences(self) -> str:
        rows = [
            [_label(figure), f"{a} - {b}", _cell(interval)]
            for figure, pairs in self.differences.items()
            for (a, b), interval in pairs.items()
        ]
        return table(["figure", "difference", "mean"], rows)


def _label(figure: str) -> str:
    if figure == "spectrum_db":
        return "difference of the mean log spectrum (dB, ↓)"
    return LABELS.get(figure, f"{figure} (↓)")


def _cell(interval: Interval) -> str:
    return f"{interval.mean:.3f} [{interval.low:.3f}, {interval.high:.3f}]"
