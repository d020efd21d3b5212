"""Figures as text: tables for a terminal or Markdown, and model cards. Nothing here makes up a number."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Protocol

from torch import Tensor


class Summarizable(Protocol):
    """What a card says of a model is read off these."""

    config: Any

    @property
    def hop_length(self) -> int:
        """Samples a latent frame."""

    @property
    def latent_channels(self) -> int:
        """Width of the latents."""

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
    "real_time_factor": "times real time (↑)",
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
    names = [name for name in METRICS if any(name in values for values in columns.values())]
    rows: list[list[str | float]] = [
        [METRICS[name], *(values.get(name, "–") for values in columns.values())] for name in names
    ]
    return table(["metric", *columns], rows)


def model_summary(model: Summarizable) -> dict[str, str | float]:
    """Return a model's size, rates and budget, for its card."""
    samples = model.config.audio_channels * model.sampling_rate
    latents = model.latent_channels * model.frame_rate
    return {
        "parameters": f"{sum(p.numel() for p in model.parameters()) / 1e6:.2f} M",
        "sampling rate": f"{model.sampling_rate} Hz",
        "audio channels": str(model.config.audio_channels),
        "latents": f"{model.latent_channels} channels at {model.frame_rate:.2f} Hz",
        "samples per latent number": f"{samples / latents:.1f}",
    }


def model_card(
    *, title: str, family: str, summary: Mapping[str, str | float], metrics: Mapping[str, float], material: str
) -> str:
    """Return a Hugging Face model card.

    Args:
        title (`str`): Heading.
        family (`str`): Model class.
        summary (`Mapping`): What the model is: one row each.
        metrics (`Mapping`): Measured values, by the names in `METRICS`.
        material (`str`): What they were measured on.
    """
    return f"""---
library_name: diffusers
tags: [audio, vae, autoencoder, hf-audio-vae]
---

# {title}

```python
from hf_audio_vae import {family}

model = {family}.from_pretrained("{title}")
```

{table(["", "value"], list(summary.items()))}

Measured on {material}, each item by itself, from the posterior mean:

{table(["metric", "mean"], [[METRICS[name], metrics[name]] for name in METRICS if name in metrics])}

SI-SDR is per channel, then averaged. Multi-resolution STFT is spectral convergence plus natural-log magnitude L1 over
windows 2048 to 32. Mel distance is DAC's class default (150 and 80 mels, squared, log plus magnitude).
"""
