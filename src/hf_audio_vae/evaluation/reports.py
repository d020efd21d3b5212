"""Figures as text: tables for a terminal or Markdown, and model cards. Nothing here makes up a number."""

import math
from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from typing import Any, Protocol

from torch import Tensor

from hf_audio_vae.evaluation.codes import Coded, CodeStatistics, codebook_frame_rates, has_codebooks
from hf_audio_vae.evaluation.latents import ACTIVE_VARIANCE, LatentStatistics


class Summarizable(Protocol):
    """What a card says of a model is read off these, and off `latent_channels` or `codebook_sizes`."""

    config: Any

    @property
    def hop_length(self) -> int:
        """Samples a latent frame."""

    @property
    def sampling_rate(self) -> int:
        """In Hz."""

    @property
    def frame_rate(self) -> float:
        """Latent frames a second."""

    def parameters(self) -> Iterator[Tensor]:
        """Yield the weights."""


METRICS = {
    "si_sdr_db": "SI-SDR (dB, ↑)",
    "multi_resolution_stft": "multi-resolution STFT (↓)",
    "mel_distance": "mel distance (↓)",
    "kl": "KL (nats a frame)",
    "commitment": "commitment (latents to their codes, mean square)",
    "codebook": "codebook (codes to their latents, mean square)",
    "real_time_factor": "times real time (↑)",
}
LATENT_METRICS = {  # what `LatentStatistics.summary` returns
    "bits_per_second": "KL (bits a second)",
    "active_units": "active channels",
    "active_share": "active share of channels",
    "effective_rank": "effective rank",
    "mismatch_nats": "Gaussian mismatch with the prior (nats a frame, ↓)",
    "mean_std": "std of a channel, mean (prior: 1)",
}
CODE_METRICS = {  # what `CodeStatistics.summary` returns
    "nominal_bits_per_second": "bitrate, all codebooks (bits a second)",
    "entropy_bits_per_second": "entropy of the codes (bits a second)",
    "bitrate_efficiency": "bitrate efficiency (↑)",
    "mean_perplexity": "perplexity, mean over codebooks (↑)",
    "lowest_usage": "usage of a codebook, the lowest (↑)",
    "dead_codes": "codes never used (↓)",
    "frames_per_code": "frames measured a code, the fewest",
}
DIFFUSION_METRICS = {  # what a validation of latent diffusion returns
    "denoising_loss": "denoising loss (↓)",
    "linear_guess_loss": "loss of the linear predictor",
    "loss_ratio": "loss / linear predictor (↓)",
    "generated_mean_distance": "generated latents: a channel's mean off by, in std (↓)",
    "generated_std_factor": "generated latents: a channel's std off by a factor of (1 is right)",
}
CHANNEL_FIGURES = {
    "kl_nats": "KL (nats a frame)",
    "bits_per_second": "bits a second",
    "active": "active",
    "mean": "mean",
    "std": "std",
    "excess_kurtosis": "excess kurtosis",
}
CODEBOOK_FIGURES = {
    "frames": "frames",
    "perplexity": "perplexity",
    "usage": "usage",
    "dead_codes": "never used",
    "entropy_bits": "entropy (bits)",
    "efficiency": "efficiency",
    "nominal_bits_per_second": "bits a second",
    "entropy_bits_per_second": "entropy a second",
}


def table(header: Sequence[str], rows: Sequence[Sequence[str | float]]) -> str:
    """Return a Markdown table with aligned columns; floats get three decimals, the first column is text."""
    cells = [list(header), *([f"{v:.3f}" if isinstance(v, float) else str(v) for v in row] for row in rows)]
    widths = [max(len(row[i]) for row in cells) for i in range(len(header))]

    def line(row: Sequence[str]) -> str:
        padded = [row[0].ljust(widths[0]), *(cell.rjust(w) for cell, w in zip(row[1:], widths[1:], strict=True))]
        return "| " + " | ".join(padded) + " |"

    rule = "|" + "|".join("-" * (w + 1) + (":" if i else "-") for i, w in enumerate(widths)) + "|"
    return "\n".join([line(cells[0]), rule, *(line(row) for row in cells[1:])])


def metrics_table(columns: Mapping[str, Mapping[str, float]]) -> str:
    """Return a table with a row a metric and a column for each entry, say `{"before": ..., "after": ...}`.

    A metric that a column lacks is a dash there.
    """
    labels = METRICS | LATENT_METRICS | CODE_METRICS | DIFFUSION_METRICS
    names = [name for name in labels if any(name in values for values in columns.values())]
    rows: list[list[str | float]] = [
        [labels[name], *(values.get(name, "–") for values in columns.values())] for name in names
    ]
    return table(["metric", *columns], rows)


def channels_table(statistics: LatentStatistics) -> str:
    """Return a table with a row a latent channel, the one with the highest KL first."""
    figures = statistics.by_channel()
    order = figures["kl_nats"].argsort(descending=True).tolist()
    columns: list[list[float]] = [figures[name].tolist() for name in CHANNEL_FIGURES]
    rows: list[list[str | float]] = [[str(channel), *(column[channel] for column in columns)] for channel in order]
    return table(["channel", *CHANNEL_FIGURES.values()], rows)


def codebooks_table(statistics: CodeStatistics) -> str:
    """Return a table with a row a codebook, in their own order."""
    figures = statistics.by_codebook()
    columns: list[list[float]] = [figures[name].tolist() for name in CODEBOOK_FIGURES]
    rows: list[list[str | float]] = [
        [f"{codebook} (of {size} codes)", *(column[codebook] for column in columns)]
        for codebook, size in enumerate(statistics.codebook_sizes)
    ]
    return table(["codebook", *CODEBOOK_FIGURES.values()], rows)


def model_summary(model: Summarizable) -> dict[str, str | float]:
    """Return a model's size, rates and budget, for its card; with `codes` if it has codebooks, else with `latents`."""
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
    *, title: str, family: str, summary: Mapping[str, str | float], metrics: Mapping[str, float], material: str
) -> str:
    """Return a Hugging Face model card.

    Args:
        title (`str`): Heading.
        family (`str`): Model class.
        summary (`Mapping`): What the model is: one row each, as of `model_summary`. With `codes` the card is that of
            a codec, a model of transformers, else that of a VAE, one of diffusers.
        metrics (`Mapping`): Measured values, by the names in `METRICS`, `LATENT_METRICS` and `CODE_METRICS`.
        material (`str`): What they were measured on.
    """
    library, kind, path = "diffusers", "vae", "from the posterior mean"
    if "codes" in summary:
        library, kind, path = "transformers", "audio-codec", "from its codes, of all codebooks"
    return f"""---
library_name: {library}
tags: [audio, {kind}, autoencoder, hf-audio-vae]
---

# {title}

```python
from hf_audio_vae import {family}

model = {family}.from_pretrained("{title}")
```

{table(["", "value"], list(summary.items()))}

Measured on {material}, each item by itself, {path}:

{table(["metric", "mean"], [[METRICS[name], metrics[name]] for name in METRICS if name in metrics])}

SI-SDR is per channel, then averaged. Multi-resolution STFT is spectral convergence plus natural-log magnitude L1 over
windows 2048 to 32. Mel distance is DAC's class default (150 and 80 mels, squared, log plus magnitude).
{_latents_section(metrics)}{_codes_section(metrics)}"""


def _latents_section(metrics: Mapping[str, float]) -> str:
    """What a card says of the latents: nothing if they were not measured."""
    measured = [name for name in LATENT_METRICS if name in metrics]
    if not measured:
        return ""
    return f"""
The latents of these items, every frame alike:

{table(["latents", "value"], [[LATENT_METRICS[name], metrics[name]] for name in measured])}

A channel is active if the variance of its posterior mean over the data is at least {ACTIVE_VARIANCE} (Burda et al.,
2016); the effective rank is that of the covariance of these means (Roy & Vetterli, 2007), the mismatch the KL from the
prior of the Gaussian with mean and covariance of all latents, a lower bound of the marginal KL (Hoffman & Johnson,
2016).
"""


def _codes_section(metrics: Mapping[str, float]) -> str:
    """What a card says of the codes: nothing if they were not measured."""
    measured = [name for name in CODE_METRICS if name in metrics]
    if not measured:
        return ""
    return f"""
The codes of these items, every frame alike:

{table(["codes", "value"], [[CODE_METRICS[name], metrics[name]] for name in measured])}

The bitrate is log2 of the codebooks' sizes at their frame rates, the entropy that of each codebook's counted codes by
themselves, perplexity its exponential, and the efficiency their ratio (Kumar et al., 2023). Usage is the share of a
codebook seen at least once: it cannot exceed the frames measured a code.
"""


def pipeline_card(*, title: str, call: str, summary: Mapping[str, str | float], metrics: Mapping[str, float]) -> str:
    """Return the card of a latent diffusion pipeline.

    Args:
        title (`str`): Heading.
        call (`str`): Arguments that generate a sound with it.
        summary (`Mapping`): What it is: one row each.
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

Losses are of held-out latents, each item at the same draws of noise and time:

{table(["metric", "value"], rows)}

The linear predictor is the best element-wise one: it knows only the scale of the latents. Generated latents are
compared with the training data whose classes, texts and lengths they have, at the worst channel.
"""
