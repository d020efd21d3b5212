"""Results as Markdown."""

from collections.abc import Callable, Mapping

from torch import Tensor

from hf_audio_vae.comparison.results import Distance, Results
from hf_audio_vae.evaluation.linearity import linearity_rows, linearity_table
from hf_audio_vae.evaluation.registry import RECONSTRUCTION_METRICS
from hf_audio_vae.evaluation.reports import CODE_METRICS, LATENT_METRICS, METRICS, table
from hf_audio_vae.evaluation.set_distances import EmbeddingStatistics, frechet_distance, kernel_distance

PROPERTIES = {
    "file_bits_per_second": "bitrate of the file (bits per second)",
    "latent_numbers_per_second": "latent numbers a second",
    "compression": "compression (↑)",
    "parameters": "parameters (millions)",
}
SPEED = {
    "real_time_factor": METRICS["real_time_factor"],
    "peak_memory_mb": "peak memory while coding (MiB)",
}
PANELS = {
    "mel_distance": METRICS["mel_distance"],
    "si_sdr_db": METRICS["si_sdr_db"],
    "KAD log_mel": "KAD log_mel (↓)",
    "KAD musicnn": "KAD musicnn (↓)",
}
FORMATS: dict[str, Callable[[float], str]] = {
    "parameters": lambda value: f"{value / 1e6:.2f}",
    "latent_numbers_per_second": lambda value: f"{value:.0f}",
    "peak_memory_mb": lambda value: f"{value:.0f}",
}


def frechet_distance_if_measurable(reconstructions: Tensor, originals: Tensor) -> float | None:
    """Return `frechet_distance`; `None` if there are too few embeddings for a covariance."""
    if len(originals) <= originals.shape[1]:
        return None
    return frechet_distance(*(EmbeddingStatistics.of(values) for values in (reconstructions, originals)))


def paired_kernel_distance(reconstructions: Tensor, originals: Tensor) -> float | None:
    """Return `kernel_distance` of reconstructions and their originals; `None` for fewer than 2 embeddings."""
    return None if len(originals) < 2 else kernel_distance(reconstructions, originals, paired=True)


DISTANCES: dict[str, Distance] = {"FAD": frechet_distance_if_measurable, "KAD": paired_kernel_distance}


def markdown(
    results: Results, speed: Mapping[str, Mapping[str, float]], material: str, *, with_differences: bool
) -> str:
    """Return results as Markdown.

    Args:
        results (`Results`): Results.
        speed (`Mapping`): From `speeds`.
        material (`str`): Name of the data set.
        with_differences (`bool`): Whether to add the table of paired differences, which has a row for each pair of
            systems and each metric.
    """
    parts = [_figures(results, speed), *_classes(results), *_linearity(results)]
    if len(results.names) == 1:
        parts.append(_intervals(results))
    else:
        parts += [_differences(results)] if with_differences else []
        parts.append(_findings(results))
    parts.append(f"measured on `{material}`: {len(results.items)} items, {results.seconds:.1f} s")
    return "\n\n".join(parts)


def labels_of(results: Results) -> dict[str, str]:
    """Return the labels of all figures by name, in the order of tables."""
    distances = {name: f"{name} (↓)" for figures in results.distances.values() for name in figures}
    return METRICS | distances | LATENT_METRICS | CODE_METRICS | PROPERTIES | SPEED


def _figures(results: Results, speed: Mapping[str, Mapping[str, float]]) -> str:
    labels = labels_of(results)
    columns = {name: {**figures, **speed.get(name, {})} for name, figures in results.columns().items()}
    found = [name for name in labels if any(name in figures for figures in columns.values())]

    def cell(name: str, figures: Mapping[str, float]) -> str | float:
        if name not in figures:
            return "–"
        return FORMATS[name](figures[name]) if name in FORMATS else figures[name]

    rates = [results.rate(name) for name in columns]
    rows: list[list[str | float]] = [["kbit/s", *("–" if rate is None else rate / 1000 for rate in rates)]]
    rows += [[labels[name], *(cell(name, figures) for figures in columns.values())] for name in found]
    return table(["metric", *columns], rows)


def _classes(results: Results) -> list[str]:
    """Return a table with a row for each class and system, if items have classes."""
    rows: list[list[str | float]] = [
        [label, system, str(found["items"]), *(means.get(metric, "–") for metric in results.ranked)]
        for label, found in results.classes().items()
        for system, means in found["means"].items()
    ]
    return [table(["class", "model", "items", *(METRICS[name] for name in results.ranked)], rows)] if rows else []


def _linearity(results: Results) -> list[str]:
    """Return a table for each system with latents."""
    rows = {name: linearity_rows(figures) for name, figures in results.columns().items()}
    return [f"Linearity of {name}:\n\n{linearity_table(found)}" for name, found in rows.items() if found]


def _intervals(results: Results) -> str:
    (means,) = results.means.values()
    rows = [[METRICS[name], f"{i.low:.3f} to {i.high:.3f}"] for name, i in means.items() if name in METRICS]
    return table(["metric", "95 % interval of the mean over items"], rows)


def _differences(results: Results) -> str:
    rows: list[list[str | float]] = [
        [
            RECONSTRUCTION_METRICS[metric].title,
            f"{a} - {b}",
            d.mean,
            f"{d.low:.3f} to {d.high:.3f}",
        ]
        for metric, pairs in results.differences.items()
        for (a, b), d in pairs.items()
    ]
    return table(["metric", "paired difference", "mean", "95 % interval"], rows)


def _findings(results: Results) -> str:
    sentences = [f"- {RECONSTRUCTION_METRICS[metric].title}: {found}" for metric, found in results.findings().items()]
    return (
        "From best to worst; `>` if the 95 % interval of the paired difference excludes 0, else `≈`:\n\n"
        + "\n".join(sentences)
    )
