"""A line of the log for each validation, and the model of the best one."""

import json
import math
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from accelerate.logging import get_logger
from huggingface_hub import ModelCardData

from hf_audio_vae.evaluation.card_metadata import CARD_TAG
from hf_audio_vae.evaluation.cards import card_text
from hf_audio_vae.files import filling
from hf_audio_vae.files.json_files import read_json

logger = get_logger(__name__)
BEST_FOLDER = "best"
VALIDATION_FILE = "validation.json"
History = Sequence[Mapping[str, float]]


class BestModel:
    """Logs validations with the best so far, and keeps the model of the best one in `best/`.

    Args:
        output_dir (`Path`): Folder of the run.
        metric (`str`, *optional*): Metric that decides which model is kept; `None` keeps none.
        labels (`Mapping[str, str]`): By metric: its label, with an arrow if higher (↑) or lower (↓) is better.
        save (`Callable`): Writes the model into a folder.

    Raises:
        ValueError: The metric is unknown, or neither high nor low values of it are better.
    """

    def __init__(
        self, output_dir: Path, metric: str | None, labels: Mapping[str, str], save: Callable[[Path], object]
    ) -> None:
        self.folder, self.metric, self.labels, self._save = output_dir / BEST_FOLDER, metric, labels, save
        ranked = [name for name, label in labels.items() if _arrow(label)]
        if metric is not None and metric not in ranked:
            raise ValueError(f"`best_metric` is {metric}; choose one of {', '.join(ranked)}.")

    def resume(self, history: History, *, comparable: bool = True) -> None:
        """Delete a model of a validation that the resumed run has not reached.

        Args:
            history (`Sequence[Mapping[str, float]]`): Validations of the resumed run.
            comparable (`bool`): Whether later validations measure what these did. If not, the model is set aside,
                since its figure would be compared with those of another validation.
        """
        if not self.folder.exists():
            return
        if not comparable:
            aside = self.folder.with_name(f"{BEST_FOLDER}-at-step-{self.kept.get('step')}")
            shutil.rmtree(aside, ignore_errors=True)
            self.folder.rename(aside)
            logger.warning(f"{self.folder} is renamed to {aside.name}: another validation has chosen its model")
        elif self.kept.get("step") not in [row["step"] for row in history]:
            shutil.rmtree(self.folder)
            logger.info(f"deleted {self.folder}, whose model is of a later step than the resumed checkpoint")

    @property
    def kept(self) -> Mapping[str, float]:
        """The validation of the model in `best/`; empty if there is none."""
        return kept_validation(self.folder.parent)

    def add(self, history: History) -> None:
        """Log the last validation of a history, and keep the model if it is better than the kept one."""
        logger.info(validation_line(history, self.labels))
        if self.metric is None:
            return
        last = history[-1]
        if self.metric not in last:
            measured = [name for name in last if _arrow(self.labels.get(name, ""))]
            raise ValueError(
                f"`best_metric` is {self.metric}, which this model does not have; choose one of {', '.join(measured)}."
            )
        if best_validation([self.kept, last], self.metric, self.labels) is last:
            with filling(self.folder, first=VALIDATION_FILE) as folder:
                self._save(folder)
                (folder / VALIDATION_FILE).write_text(json.dumps(dict(last), indent=2) + "\n")
                (folder / "README.md").write_text(self._card(last))

    def _card(self, kept: Mapping[str, float]) -> str:
        """Return a card that says which validation is kept."""
        value = f"{self.labels[str(self.metric)]} {kept[str(self.metric)]:.3f}"
        return card_text(
            ModelCardData(tags=[CARD_TAG]),
            self.folder.resolve().parent.name + f", step {kept['step']}",
            f"The averaged model of step {kept['step']}, whose validation was the best of the training run: {value}.",
            f"`{VALIDATION_FILE}` has all metrics of this validation. The folder above has the last model, the recipe "
            f"and the metrics of all validations.",
        )

    def summary(self, history: History) -> str | None:
        """Return one line that names the kept validation and the folder of its model."""
        kept = self.kept
        if self.metric is None or self.metric not in kept:
            return None
        step = f"step {kept['step']}{'' if kept['step'] else ', before the training'}"
        last = "" if kept["step"] == history[-1]["step"] else f"; {history[-1][self.metric]:.3f} at the end"
        best = best_validation([kept, *history], self.metric, self.labels)
        lost = "" if best in (kept, None) else f"; {best[self.metric]:.3f} at step {best['step']} is not kept"
        return f"best {self.labels[self.metric]}: {kept[self.metric]:.3f} at {step}, in {self.folder}{last}{lost}"


def kept_validation(output_dir: Path) -> Mapping[str, float]:
    """Return the validation of the model in `best/` of a run; empty if there is none."""
    path = output_dir / BEST_FOLDER / VALIDATION_FILE
    kept = read_json(path) if path.is_file() else None
    return kept if isinstance(kept, dict) else {}


def validation_line(history: History, labels: Mapping[str, str]) -> str:
    """Return the labelled metrics of the last validation, with a mark at those that are the best so far."""
    last = history[-1]
    best = {name for name in labels if len(history) > 1 and best_validation(history, name, labels) is last}
    parts = [
        f"{label} {last[name]:.3f}{' *' if name in best else ''}" for name, label in labels.items() if name in last
    ]
    return f"step {last['step']}: " + ", ".join(parts) + (" (* best so far)" if best else "")


def best_validation(history: History, metric: str, labels: Mapping[str, str]) -> Mapping[str, float] | None:
    """Return the first validation with the best finite value; `None` if no value is better than others."""
    finite = [row for row in history if math.isfinite(row.get(metric, math.nan))]
    arrow = _arrow(labels[metric])
    if not finite or arrow is None:
        return None
    return (max if arrow == "↑" else min)(finite, key=lambda row: row[metric])


def _arrow(label: str) -> str | None:
    return next((arrow for arrow in "↑↓" if arrow in label), None)
