"""Model cards with the properties, the use and the figures of a model. All numbers come from the arguments."""

import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any, Protocol
from urllib.parse import quote

from huggingface_hub import ModelCardData
from torch import Tensor

from hf_audio_vae.evaluation.card_metadata import (
    AUTOENCODER_TASK,
    PACKAGE,
    PEFT,
    Measured,
    Origin,
    card_data,
    without_folders,
)
from hf_audio_vae.evaluation.codes import Coded, codebook_frame_rates, has_codebooks
from hf_audio_vae.evaluation.latents import ACTIVE_VARIANCE
from hf_audio_vae.evaluation.linearity import SECONDS, linearity_rows, linearity_table
from hf_audio_vae.evaluation.registry import RECONSTRUCTION_METRICS
from hf_audio_vae.evaluation.reports import CODE_METRICS, LATENT_METRICS, METRICS, table


class Summarizable(Protocol):
    """Attributes that a card reads from a model, in addition to `latent_channels` or `codebook_sizes`."""

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


@dataclass(frozen=True)
class Figures:
    """Figures of an autoencoder.

    Attributes:
        measured (`Measured`): Values by metric name, and the data that they were measured on.
        description (`str`): The data in words, such as "`data/held_out`: 12 items, 29.4 s".
        intervals (`Mapping[str, tuple[float, float]]`): 95 % intervals of means, by metric name.
        systems (`Mapping[str, Mapping[str, float]]`): Means of all systems that were measured together, by name.
        findings (`Mapping[str, str]`): By metric: a sentence on the differences between systems that hold.
    """

    measured: Measured
    description: str
    intervals: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    systems: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    findings: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Sample:
    """Paths of a clip and its reconstruction, relative to the folder of a model.

    Attributes:
        name (`str`): Name of the clip.
        original (`str`): Sound file at the rate of the model.
        reconstruction (`str`): Sound file.
        picture (`str`): Spectrograms of both and of the residual.
        weights (`str`): Fingerprint of the model that the reconstruction is of.
    """

    name: str
    original: str
    reconstruction: str
    picture: str
    weights: str


def model_summary(model: Summarizable) -> dict[str, str | float]:
    """Return the properties of a model for its card. They have `codes` if the model has codebooks, else `latents`."""
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
    summary: Mapping[str, str | float],
    sampling_rate: int,
    origin: Origin = Origin(),  # noqa: B008  # frozen
    figures: Figures | None = None,
    samples: Sequence[Sample] = (),
    has_recipe: bool = False,
    subfolder: str | None = None,
    adapter_of: str | None = None,
) -> str:
    """Return the card of an autoencoder.

    Args:
        title (`str`): Hub id, or name of the folder. The examples use it as the name of the model.
        model_class (`type`): Class with `from_pretrained`, of this package or of diffusers or transformers.
        summary (`Mapping`): Properties of the model, one row each, as returned by `model_summary`. The card describes
            a codec if they have `codes`, else a VAE.
        sampling_rate (`int`): In Hz.
        origin (`Origin`): License, data sets and base model.
        figures (`Figures`, *optional*): Figures with names in `METRICS`, `LATENT_METRICS` and `CODE_METRICS`.
        samples (`Sequence[Sample]`): Clips in the folder of the model.
        has_recipe (`bool`): Whether the folder has `recipe.yaml` and `metrics.json` of the training.
        subfolder (`str`, *optional*): Subfolder of the model.
        adapter_of (`str`, *optional*): Folder or Hub id of the model that was adapted, for the card of an adapter.
    """
    library = PEFT if adapter_of else model_class.__module__.partition(".")[0]
    codec = "codes" in summary
    data = card_data(
        title,
        library=library,
        task=AUTOENCODER_TASK,
        tags=["audio", "audio-codec" if codec else "vae", "autoencoder"],
        origin=origin,
        sampling_rate=sampling_rate,
        measured=figures.measured if figures else None,
    )
    return card_text(
        data,
        title,
        _use_section(title, model_class, codec=codec, subfolder=subfolder, adapter_of=adapter_of),
        table(["", "value"], list(summary.items())),
        recipe_section("train") if has_recipe else "",
        _figures_section(figures, codec=codec) if figures else "",
        _samples_section(samples),
    )


def card_text(data: ModelCardData, title: str, *sections: str) -> str:
    """Return a card of metadata, a heading and the sections that are not empty."""
    body = "\n\n".join(section.strip("\n") for section in (f"# {title}", *sections) if section)
    return f"---\n{data.to_yaml()}\n---\n\n{body}\n"


def title_note(title: str) -> str:
    """Return a line for the examples if the title is the name of a folder, which is not found from everywhere."""
    if "/" in title:
        return ""
    return f"In these examples, `{title}` is the path of this folder, or the id of its repository after a push.\n\n"


def _use_section(title: str, model_class: type, *, codec: bool, subfolder: str | None, adapter_of: str | None) -> str:
    module, name = model_class.__module__.partition(".")[0], model_class.__name__
    given = f'"{title}"' + (f', subfolder="{subfolder}"' if subfolder else "")
    own = module == PACKAGE and adapter_of is None
    if own:
        introduction = ""
        loading = f"from hf_audio_vae import {name}\n\nmodel = {name}.from_pretrained({given})"
    else:
        introduction = (
            _published_use(module, name, given)
            if adapter_of is None
            else f"A low-rank adapter of the {name} {without_folders(adapter_of)}; both are loaded and merged:\n\n"
        )
        loading = f"from hf_audio_vae.models import load_autoencoder\n\nmodel = load_autoencoder({given})"
    encoded = (
        "codes = model.encode(waveform).audio_codes"
        if codec
        else "latents = model.encode(waveform).latent_dist.mode()  # (batch, channels, frames)"
    )
    return f"""## How to use

{title_note(title)}{introduction}```python
import torch
{loading}
waveform = torch.zeros(1, model.config.audio_channels, model.sampling_rate // 10)  # (batch, audio_channels, time)
with torch.no_grad():
    {encoded}
    reconstruction = model(waveform).sample  # of the shape of the waveform
```

```bash
hf-audio-vae reconstruct FILE --model {title}{f" --subfolder {subfolder}" if subfolder else ""}
```
{_auto_model(title, model_class) if own else ""}"""


def _published_use(module: str, name: str, given: str) -> str:
    """Return the example for a class of another library."""
    return f"""```python
from {module} import {name}

model = {name}.from_pretrained({given})
```

With the package hf-audio-vae, which has one interface for all autoencoders:

"""


def _auto_model(title: str, model_class: type) -> str:
    """Return the example with `AutoModel` of the library of the base class."""
    library = next(
        base.__module__.partition(".")[0]
        for base in model_class.__mro__
        if base.__name__ in ("ModelMixin", "PreTrainedModel")
    )
    return f"""
`AutoModel` of {library} loads it after `import hf_audio_vae`, which registers the class:
`AutoModel.from_pretrained("{title}")`.
"""


def recipe_section(verb: str) -> str:
    """Return the section on the training, given the command that trains."""
    return f"""## Training

[`recipe.yaml`](recipe.yaml) has all options, and [`metrics.json`](metrics.json) the figures of every validation.
`hf-audio-vae {verb} DATA --recipe recipe.yaml --output_dir NEW` repeats the training; DATA is the folder of the
training data, or its Hub id. The recipe has only the last part of paths outside of the working directory; options such
as `--validation_dataset_name` name other folders where they lie.
"""


def _figures_section(figures: Figures, *, codec: bool) -> str:
    path = "from its codes, with all codebooks" if codec else "from the posterior mean"
    values = figures.measured.values
    parts = [
        "## Figures",
        f"Measured on {figures.description}, one item at a time, reconstructed {path}:",
        _means_table(figures),
        _definitions(values),
        _systems_section(figures),
        _latents_section(values),
        _codes_section(values),
        _linearity_section(values),
    ]
    return "\n\n".join(part.strip("\n") for part in parts if part)


def _means_table(figures: Figures) -> str:
    values, labels = figures.measured.values, figures.measured.labels
    names = [name for name in labels if name in values]
    if not figures.intervals:
        return table(["metric", "mean"], [[labels[name], values[name]] for name in names])
    rows: list[list[str | float]] = []
    for name in names:
        low_high = figures.intervals.get(name)
        rows.append([labels[name], values[name], f"{low_high[0]:.3f} to {low_high[1]:.3f}" if low_high else "–"])
    return table(["metric", "mean", "95 % interval"], rows)


def _definitions(values: Mapping[str, float]) -> str:
    """Return the definitions of the measured metrics."""
    defined = [f"- {m.title}: {m.definition}." for name, m in RECONSTRUCTION_METRICS.items() if name in values]
    return "\n".join(defined)


def _systems_section(figures: Figures) -> str:
    """Return a table of all systems that were measured together, and the differences that hold."""
    if len(figures.systems) < 2:
        return ""
    labels, systems = figures.measured.labels, figures.systems
    rows: list[list[str | float]] = [
        [labels[name], *(values.get(name, "–") for values in systems.values())]
        for name in labels
        if any(name in values for values in systems.values())
    ]
    found = [f"- {RECONSTRUCTION_METRICS[name].title}: {sentence}" for name, sentence in figures.findings.items()]
    held = ["Differences whose 95 % interval excludes 0:", "\n".join(found)] if found else []
    return "\n\n".join(["On the same items:", table(["metric", *systems], rows), *held])


def _samples_section(samples: Sequence[Sample]) -> str:
    """Return players, links and pictures of samples."""
    if not samples:
        return ""
    parts = ["## Samples", f"<!-- of the weights {samples[0].weights} -->"]
    for sample in samples:
        parts.append(f"**{_text(sample.name)}**")
        for label, path in (("original", sample.original), ("reconstruction", sample.reconstruction)):
            link = _link(path)
            parts.append(f'[{label}]({link}) <audio controls src="{link}"></audio>')
        parts.append(f"![spectrograms of original, reconstruction and residual]({_link(sample.picture)})")
    return "\n\n".join(parts)


def _link(path: str) -> str:
    return quote(path, errors="surrogateescape")  # a file name may be no UTF-8


def _text(name: str) -> str:
    """Escape what Markdown or HTML would read as markup."""
    return "".join(f"\\{c}" if c in "\\`*_[]<>#|&" else c for c in name if c.isprintable())


def _latents_section(values: Mapping[str, float]) -> str:
    """Return the section on latents; empty if they were not measured."""
    measured = [name for name in LATENT_METRICS if name in values]
    if not measured:
        return ""
    return f"""
Statistics of the latents of these items, with equal weight for all frames:

{table(["latents", "value"], [[LATENT_METRICS[name], values[name]] for name in measured])}

A channel is active if the variance of its posterior mean over the data is at least {ACTIVE_VARIANCE} (Burda et al.,
2016). The effective rank is computed from the covariance of these means (Roy & Vetterli, 2007). The mismatch is the KL
from the prior for a Gaussian with the mean and covariance of all latents, a lower bound of the marginal KL (Hoffman &
Johnson, 2016).
"""


def _codes_section(values: Mapping[str, float]) -> str:
    """Return the section on codes; empty if they were not measured."""
    measured = [name for name in CODE_METRICS if name in values]
    if not measured:
        return ""
    return f"""
Statistics of the codes of these items, with equal weight for all frames:

{table(["codes", "value"], [[CODE_METRICS[name], values[name]] for name in measured])}

The bitrate is log2 of the codebook sizes times the frame rates. The entropy is computed from the code counts of each
codebook separately. The perplexity is its exponential, and the efficiency is the ratio of entropy to bitrate (Kumar et
al., 2023). Usage is the share of a codebook that is used at least once. It cannot exceed the frames measured per code.
"""


def _linearity_section(values: Mapping[str, float]) -> str:
    """Return the section on linearity; empty if it was not measured."""
    rows = linearity_rows(values)
    if not rows:
        return ""
    return f"""
Linearity on the first {SECONDS:g} s of these items:

{linearity_table(rows)}

The latents are transformed before decoding. The error is the energy of the difference from the transformed
reconstruction, relative to that reconstruction. A linear decoder has an error far below 0 dB, and its distance stays
that of the reconstruction (Torres et al., 2025, arXiv:2510.23530).
"""


def reconstruction_labels(values: Collection[str], distances: Sequence[str] = ()) -> dict[str, str]:
    """Return the labels of the values that measure reconstructions. Distances between sets are last."""
    labels = METRICS | {name: f"{name} (↓)" for name in distances}
    return {name: label for name, label in labels.items() if name in values}
