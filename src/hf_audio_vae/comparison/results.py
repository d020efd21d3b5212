"""Results of all items: means with intervals, paired differences, distances between sets, rates."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

import torch
from torch import Tensor

from hf_audio_vae.comparison.items import REFERENCE, Item
from hf_audio_vae.comparison.systems import System
from hf_audio_vae.evaluation.intervals import Interval, bootstrap_interval, paired_differences, ranking
from hf_audio_vae.evaluation.metrics import mean_metrics

Distance = Callable[[Tensor, Tensor], float | None]
FILE_RATE = "file_bits_per_second"
RATES = ("nominal_bits_per_second", "bits_per_second", FILE_RATE)  # of codes, of KL, of bytes


class Results:
    """Figures of systems on the items of a data set.

    Args:
        items (`Sequence[Item]`): Items in order.
        systems (`Sequence[System]`): Systems that were measured.
        directions (`Mapping[str, bool]`): By metric: whether higher is better.
        distances (`Mapping`): By name: ``distance(reconstructions, originals)`` of embeddings (frames, dim), which
            returns `None` for too few embeddings.
    """

    def __init__(
        self,
        items: Sequence[Item],
        systems: Sequence[System],
        directions: Mapping[str, bool],
        distances: Mapping[str, Distance],
    ) -> None:
        self.items, self.systems, self.directions = items, systems, directions
        self.names = [system.name for system in systems]
        self.means = {name: self._means(name) for name in self.names}
        self.differences = {metric: paired_differences(self._values(metric)) for metric in self.ranked}
        self.distances = {name: self._distances(name, distances) for name in self.names}
        self.properties = {system.name: self._properties(system) for system in systems}

    @property
    def ranked(self) -> list[str]:
        """Metrics that have a direction and at least one value."""
        found = {metric for values in self.means.values() for metric in values}
        return [metric for metric in self.directions if metric in found]

    @property
    def seconds(self) -> float:
        """Total length of all items."""
        return sum(item.seconds for item in self.items)

    def findings(self) -> dict[str, str]:
        """Return one sentence for each metric on the differences between systems that hold, see `ranking`."""
        sentences = {}
        for metric in self.ranked if len(self.names) > 1 else ():
            higher = self.directions[metric]
            measured = [name for name in self.names if metric in self.means[name]]
            order = sorted(measured, key=lambda name: self.means[name][metric].mean, reverse=higher)
            sentences[metric] = ranking(order, self.differences[metric], higher_is_better=higher)
        return sentences

    def columns(self) -> dict[str, dict[str, float]]:
        """Return all figures of each system by metric name, for a table."""
        return {
            name: {metric: interval.mean for metric, interval in self.means[name].items()}
            | self.properties[name]
            | self.distances[name]
            for name in self.names
        }

    def numbers(self) -> dict[str, Any]:
        """Return everything as JSON-serializable values."""
        return {
            "items": [_described(item) for item in self.items],
            "means": {name: {m: asdict(v) for m, v in means.items()} for name, means in self.means.items()},
            "differences": {
                metric: [{"first": a, "second": b, **asdict(v)} for (a, b), v in pairs.items()]
                for metric, pairs in self.differences.items()
            },
            "findings": self.findings(),
            "distances": self.distances,
            "properties": self.properties,
            **({"classes": self.classes()} if self.classes() else {}),
        }

    def classes(self) -> dict[str, dict[str, Any]]:
        """Return the number, the seconds and the mean metrics of the items of each class, by label."""
        labels = sorted({item.label for item in self.items if item.label is not None})
        found = {label: [item for item in self.items if item.label == label] for label in labels}
        return {
            label: {
                "items": len(items),
                "seconds": sum(item.seconds for item in items),
                "means": {name: mean_metrics([item.figures[name] for item in items]) for name in self.names},
            }
            for label, items in found.items()
        }

    def rows(self) -> tuple[list[str], list[list[str | float]]]:
        """Return the names of the columns and a row for each item and system; a value that is not defined is empty."""
        metrics = list(dict.fromkeys(m for item in self.items for figures in item.figures.values() for m in figures))
        rows: list[list[str | float]] = [
            [item.name, item.label or "", system, item.seconds, *(figures.get(metric, "") for metric in metrics)]
            for item in self.items
            for system, figures in item.figures.items()
        ]
        return ["item", "class", "system", "seconds", *metrics], rows

    def rate(self, name: str) -> float | None:
        """Return the bits per second of the codes, the KL or the files of a system; `None` if it has none of them."""
        figures = self.columns()[name]
        return next((figures[rate] for rate in RATES if rate in figures), None)

    def _values(self, metric: str) -> dict[str, list[float | None]]:
        return {name: [item.figures[name].get(metric) for item in self.items] for name in self.names}

    def _means(self, name: str) -> dict[str, Interval]:
        metrics = dict.fromkeys(m for item in self.items for m in item.figures[name] if m != FILE_RATE)
        values = {m: [i.figures[name][m] for i in self.items if m in i.figures[name]] for m in metrics}
        return {metric: bootstrap_interval(found) for metric, found in values.items()}

    def _distances(self, name: str, distances: Mapping[str, Distance]) -> dict[str, float]:
        found = {
            f"{distance} {embedding}": measure(self._embedded(name, embedding), self._embedded(REFERENCE, embedding))
            for embedding in self.items[0].embeddings.get(REFERENCE, ())
            for distance, measure in distances.items()
        }
        return {label: value for label, value in found.items() if value is not None}

    def _embedded(self, system: str, embedding: str) -> Tensor:
        return torch.cat([item.embeddings[system][embedding] for item in self.items])

    def _properties(self, system: System) -> dict[str, float]:
        health = system.new_health()
        if health is None:  # all bits over all seconds, as for latents and codes
            seconds = [(item.figures[system.name][FILE_RATE], item.seconds) for item in self.items]
            return system.properties() | {FILE_RATE: sum(rate * s for rate, s in seconds) / self.seconds}
        for item in self.items:
            health.add_state_dict(item.health[system.name])
        return system.properties() | health.summary()


def _described(item: Item) -> dict[str, Any]:
    label = {} if item.label is None else {"label": item.label}
    return {"name": item.name, "seconds": item.seconds, **label, "metrics": item.figures}
