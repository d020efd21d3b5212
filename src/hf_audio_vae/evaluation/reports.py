"""Metrics as text: Markdown tables and model cards. All numbers come from the arguments."""

import math
from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any, Protocol

from torch import Tensor

from hf_audio_vae.evaluation.codes import Coded, CodeStatistics, codebook_frame_rates, has_codebooks
from hf_audio_vae.evaluation.latents import ACTIVE_VARIANCE, LatentStatistics
from hf_audio_vae.evaluation.registry import RECONSTRUCTION_METRICS
from hf_audio_vae.files.location import model_location

CARD_TAGS = "autoencoder, hf-audio-vae]"  # of the cards of all versions
CARD_START = 500  # bytes that have the tags


class Summarizable(Protocol):
    """Attributes that a card reads from a model, next to `latent_channels` or `codebook_sizes`."""

    config: Any

    @property
    def hop_length(self) -> int:
        """Samples per latent frame."""

    @property
    def sampling_rate(self) -> int:
        """Sampling rate in Hz."""

    @property
    def frame_rate(self) -> float:
        """Latent frames per second."""

    def parameters(self) -> Iterator[Tensor]:
        """Yield the weights."""


METRICS = {name: metric.label for name, metric in RECONSTRUCTION_METRICS.items()} | {
    "spectrogram": "spectrogram (L1 of natural log mel magnitudes, ↓)",
    "nll": "negative log-likelihood (nats a sample, ↓)",
    "kl": "KL (nats a frame)",
    "commitment": "commitment (latents to their codes, mean square)",
    "codebook": "codebook (codes to their latents, mean square)",
    "real_time_factor": "times real time (↑)",
}
LATENT_METRICS = {  # keys of `LatentStatistics.summary`
    "bits_per_second": "KL (bits per second)",
    "active_units": "active channels",
    "active_share": "active share of channels",
    "effective_rank": "effective rank",
    "mismatch_nats": "Gaussian mismatch with the prior (nats a frame, ↓)",
    "mean_std": "std of a channel, mean (prior: 1)",
}
CODE_METRICS = {  # keys of `CodeStatistics.summary`
    "nominal_bits_per_second": "bitrate, all codebooks (bits a second)",
    "entropy_bits_per_second": "entropy of the codes (bits a second)",
    "bitrate_efficiency": "bitrate efficiency (↑)",
    "mean_perplexity": "mean perplexity of a codebook (↑)",
    "lowest_usage": "lowest usage of a codebook (↑)",
    "dead_codes": "codes never used (↓)",
    "frames_per_code": "minimum frames per code",
}
DIFFUSION_METRICS = {  # keys of a latent diffusion validation
    "denoising_loss": "denoising loss (↓)",
    "linear_guess_loss": "loss of the linear predictor",
    "loss_ratio": "loss / linear predictor (↓)",
    "generated_mean_distance": "generated latents: largest error of a channel mean (std, ↓)",
    "generated_std_factor": "generated latents: largest ratio of channel stds (1 is exact)",
}
CHANNEL_STATISTICS = {
    "kl_nats": "KL (nats a frame)",
    "bits_per_second": "bits a second",
    "active": "active",
    "mean": "mean",
    "std": "std",
    "excess_kurtosis": "excess kurtosis",
}
CODEBOOK_STATISTICS = {
    "frames": "frames",
    "perplexity": "perplexity",
    "usage": "usage",
    "dead_codes": "never used",
    "entropy_bits": "entropy (bits)",
    "efficiency": "efficiency",
    "nominal_bits_per_second": "bits a second",
    "entropy_bits_per_second": "entropy (bits per second)",
}


def table(header: Sequence[str], rows: Sequence[Sequence[str | float]]) -> str:
    """Return a Markdown table with aligned columns. Floats have three decimals; the first column is text."""

    def cell_of(value: str | float) -> str:
        return f"{value:.3f}" if isinstance(value, float) else str(value).replace("|", "\\|")

    cells = [list(header), *(list(map(cell_of, row)) for row in rows)]
    widths = [max(len(row[i]) for row in cells) for i in range(len(header))]

    def line(row: Sequence[str]) -> str:
        padded = [row[0].ljust(widths[0]), *(cell.rjust(w) for cell, w in zip(row[1:], widths[1:], strict=True))]
        return "| " + " | ".join(padded) + " |"

    rule = "|" + "|".join("-" * (w + 1) + (":" if i else "-") for i, w in enumerate(widths)) + "|"
    return "\n".join([line(cells[0]), rule, *(line(row) for row in cells[1:])])


def metrics_table(columns: Mapping[str, Mapping[str, float]]) -> str:
    """Return a table with a row per metric and a column per entry, such as `{"before": ..., "after": ...}`.

    A dash marks a metric that a column does not have.
    """
    labels = METRICS | LATENT_METRICS | CODE_METRICS | DIFFUSION_METRICS
    names = [name for name in labels if any(name in values for values in columns.values())]
    rows: list[list[str | float]] = [
        [labels[name], *(values.get(name, "–") for values in columns.values())] for name in names
    ]
    return table(["metric", *columns], rows)


def channels_table(statistics: LatentStatistics) -> str:
    """Return a table with a row per latent channel, in `LatentStatistics.order`."""
    figures = statistics.by_channel()
    names = [name for name in CHANNEL_STATISTICS if name in figures]
    columns: list[list[float]] = [figures[name].tolist() for name in names]
    order = statistics.order.tolist()
    rows: list[list[str | float]] = [[str(channel), *(column[channel] for column in columns)] for channel in order]
    return table(["channel", *(CHANNEL_STATISTICS[name] for name in names)], rows)


def codebooks_table(statistics: CodeStatistics) -> str:
    """Return a table with a row per codebook, in index order."""
    figures = statistics.by_codebook()
    columns: list[list[float]] = [figures[name].tolist() for name in CODEBOOK_STATISTICS]
    rows: list[list[str | float]] = [
        [f"{codebook} (of {size} codes)", *(column[codebook] for column in columns)]
        for codebook, size in enumerate(statistics.codebook_sizes)
    ]
    return table(["codebook", *CODEBOOK_STATISTICS.values()], rows)


def model_summary(model: Summarizable) -> dict[str, str | float]:
    """Return the size, rates and budget of a model for its card, with `codes` if it has codebooks, else `latents`."""
    samples = model.config.audio_channels * model.sampling_rate
    return {
        "parameters": f"{sum(p.numel() for p in model.parameters()) / 1e6:.2f} M",
        "sampling rate": f"{model.sampling_rate} Hz",
        "audio channels": str(model.config.audio_channels),
        **(_code_budget(model, samples) if has_codebooks(model) else _latent_budget(model, samples)),
    }


def _latent_budget(model: Any, samples: int) -> dict[str, str]:
    return {
        "latents": f"{model.latent_channels} channels at {model.frame_rate:.2f} Hz",
        "samples per latent number": f"{samples / (model.latent_channels * model.frame_rate):.1f}",
    }


def _code_budget(model: Coded, samples: int) -> dict[str, str]:
    codes = []
    for (size, rate), group in groupby(zip(model.codebook_sizes, codebook_frame_rates(model), strict=True)):
        count = len(list(group))
        codes.append(f"{count} x {size} at {rate:.2f} Hz, {count * math.log2(size) * rate / 1000:.2f} kbit/s")
    return {
        "codes": "; ".join(codes),
        "bitrate of 16 bit samples over that of codes": f"{16 * samples / model.bits_per_second:.1f}",
    }


def model_card(
    *,
    title: str,
    model_class: type,
    library: str,
    summary: Mapping[str, str | float],
    metrics: Mapping[str, float],
    material: str,
    base_model: str | None = None,
) -> str:
    """Return a Hugging Face model card.

    Args:
        title (`str`): Heading.
        model_class (`type`): Class with `from_pretrained`.
        library (`str`): Library of its base class, `"diffusers"` or `"transformers"`.
        summary (`Mapping`): Properties of the model, one row each, as returned by `model_summary`. With `codes`, the
            card describes a codec, else a VAE.
        metrics (`Mapping`): Measured values, by the names in `METRICS`, `LATENT_METRICS` and `CODE_METRICS`.
        material (`str`): Data that the metrics were measured on.
        base_model (`str`, *optional*): The card is of an adapter of this model, a folder or a Hub id.
    """
    kind, path = "vae", "from the posterior mean"
    if "codes" in summary:
        kind, path = "audio-codec", "from its codes, with all codebooks"
    return f"""---
{_library(library, base_model)}
tags: [audio, {kind}, {CARD_TAGS}
---

# {title}

```python
{_loading(title, model_class, base_model)}
```

{table(["", "value"], list(summary.items()))}

Measured on {material}, one item at a time, reconstructed {path}:

{table(["metric", "mean"], [[METRICS[name], metrics[name]] for name in METRICS if name in metrics])}

SI-SDR is computed per channel, then averaged. Multi-resolution STFT is spectral convergence plus natural-log magnitude
L1 over windows 2048 to 32. Mel distance is DAC's class default (150 and 80 mels, squared, log plus magnitude).
{_latents_section(metrics)}{_codes_section(metrics)}"""


def _library(library: str, base_model: str | None) -> str:
    """Return the lines of a card on the library of a model, or of an adapter and its base on the Hub."""
    if base_model is None:
        return f"library_name: {library}"
    if Path(model_location(base_model)).is_dir():
        return "library_name: peft"
    return f"library_name: peft\nbase_model: {base_model}\nbase_model_relation: adapter"


def _loading(title: str, model_class: type, base_model: str | None) -> str:
    """Return the code that loads a model, or the base of an adapter with the adapter merged into it."""
    library, name = model_class.__module__.partition(".")[0], model_class.__name__
    if base_model is None:
        return f'from {library} import {name}\n\nmodel = {name}.from_pretrained("{title}")'
    return (
        f"from hf_audio_vae.models import load_autoencoder\n\n# A low-rank adapter of the {name} {base_model}, merged "
        f'into it.\nmodel = load_autoencoder("{title}")'
    )


def is_model_card(path: Path) -> bool:
    """Whether a file is a card of an autoencoder of this package, by its tags."""
    if not path.is_file():
        return False
    with open(path, "rb") as file:
        start = file.read(CARD_START)
    return start.startswith(b"---") and CARD_TAGS.encode() in start


def _latents_section(metrics: Mapping[str, float]) -> str:
    """Return the card's section on latents; empty if they were not measured."""
    measured = [name for name in LATENT_METRICS if name in metrics]
    if not measured:
        return ""
    return f"""
Statistics of the latents of these items, with equal weight for all frames:

{table(["latents", "value"], [[LATENT_METRICS[name], metrics[name]] for name in measured])}

A channel is active if the variance of its posterior mean over the data is at least {ACTIVE_VARIANCE} (Burda et al.,
2016). The effective rank is computed from the covariance of these means (Roy & Vetterli, 2007). The mismatch is the KL
from the prior for a Gaussian with the mean and covariance of all latents, a lower bound of the marginal KL (Hoffman &
Johnson, 2016).
"""


def _codes_section(metrics: Mapping[str, float]) -> str:
    """Return the card's section on codes; empty if they were not measured."""
    measured = [name for name in CODE_METRICS if name in metrics]
    if not measured:
        return ""
    return f"""
Statistics of the codes of these items, with equal weight for all frames:

{table(["codes", "value"], [[CODE_METRICS[name], metrics[name]] for name in measured])}

The bitrate is log2 of the codebook sizes times the frame rates. The entropy is computed from the code counts of each
codebook separately. The perplexity is its exponential, and the efficiency is the ratio of entropy to bitrate (Kumar et
al., 2023). Usage is the share of a codebook that is used at least once. It cannot exceed the frames measured per code.
"""


def pipeline_card(*, title: str, call: str, summary: Mapping[str, str | float], metrics: Mapping[str, float]) -> str:
    """Return the card of a latent diffusion pipeline.

    Args:
        title (`str`): Heading.
        call (`str`): Arguments of an example call of the pipeline.
        summary (`Mapping`): Properties of the pipeline, one row each.
        metrics (`Mapping`): Measured values, by the names in `DIFFUSION_METRICS`.
    """
    rows: list[list[str | float]] = [
        [DIFFUSION_METRICS[name], metrics[name]] for name in DIFFUSION_METRICS if name in metrics
    ]
    return f"""---
library_name: diffusers
tags: [audio, text-to-audio, latent-diffusion, hf-audio-vae]
---

# {title}

```python
from hf_audio_vae import AudioLatentDiffusionPipeline

pipeline = AudioLatentDiffusionPipeline.from_pretrained("{title}")
waveform = pipeline({call}).audios[0]  # (audio_channels, time) at pipeline.sampling_rate
```

{table(["", "value"], list(summary.items()))}

Losses are measured on held-out latents, with fixed noise and times for each item:

{table(["metric", "value"], rows)}

The linear predictor is the best element-wise one; it uses only the scale of the latents. Generated latents are
compared with training data of the same classes, texts and lengths. The values are those of the worst channel.
"""
