"""Folder of a trained pipeline: models, recipe, metrics and card."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from diffusers import DiffusionPipeline

from hf_audio_vae.evaluation.card_metadata import (
    GENERATOR_TASK,
    PACKAGE,
    Measured,
    Origin,
    card_data,
    without_folders,
)
from hf_audio_vae.evaluation.cards import card_text, recipe_section, title_note
from hf_audio_vae.evaluation.reports import DIFFUSION_METRICS, table
from hf_audio_vae.training.latent_diffusion.config import LatentDiffusionTrainingConfig
from hf_audio_vae.training.messages import generate_command
from hf_audio_vae.training.publishing import measured_in_run, origin_of_run, write_run

PIPELINE_PARTS = ("vae", "transformer", "conditioner", "scheduler", "text_encoder", "tokenizer")
PIPELINE_FILES = ["model_index.json", *(f"{name}/*" for name in PIPELINE_PARTS)]


def write_pipeline(
    pipeline: DiffusionPipeline,
    config: LatentDiffusionTrainingConfig,
    history: Sequence[Mapping[str, float]],
    folder: Path,
    title: str,
) -> None:
    """Write pipeline, `recipe.yaml`, `metrics.json` and the card `README.md` into a folder.

    Args:
        pipeline (`DiffusionPipeline`): Pipeline to publish, with the averaged networks.
        config (`LatentDiffusionTrainingConfig`): The recipe, overrides included.
        history (`Sequence[Mapping[str, float]]`): Metrics of every validation; the last is the pipeline's.
        folder (`Path`): Folder to write into.
        title (`str`): Title of the card.
    """
    pipeline.save_pretrained(folder)
    names = list(pipeline.conditioner.config.class_names)
    arguments = ['"a text"'] if config.text_column else []
    arguments += [f"class_labels={json.dumps(names[0], ensure_ascii=False)}"] if names else []
    classes = {"classes": ", ".join(names) or "none"}
    steps = {"training steps": f"{history[-1]['step']:.0f}"}
    summary = pipeline_summary(pipeline, config) | classes | steps
    card = pipeline_card(
        title=title,
        call=", ".join(arguments),
        summary=summary,
        measured=measured_in_run(config, history[-1], DIFFUSION_METRICS),
        sampling_rate=pipeline.vae.sampling_rate,
        origin=origin_of_run(config),
    )
    write_run(folder, config, config.model_dump(mode="json", exclude_none=True), history, card)


def pipeline_summary(pipeline: Any, config: LatentDiffusionTrainingConfig) -> dict[str, str]:
    """Return the properties of a pipeline for its card and for the log."""
    vae, networks = pipeline.vae, (pipeline.transformer, pipeline.conditioner)
    return {
        "parameters of the denoiser": f"{sum(p.numel() for n in networks for p in n.parameters()) / 1e6:.2f} M",
        "latents": f"{vae.latent_channels} channels at {vae.frame_rate:.2f} Hz",
        "sampling rate": f"{vae.sampling_rate} Hz",
        "longest sound": f"{pipeline.transformer.config.sample_size / vae.frame_rate:.2f} s",
        "texts": without_folders(config.text_encoder_name_or_path or "none"),
        "process": config.process,
    }


def next_command(config: LatentDiffusionTrainingConfig, class_names: Sequence[str]) -> str:
    """Return the command that generates with the pipeline of a finished run."""
    condition = ["--prompt", "a text"] if config.text_column else []
    condition += ["--class_label", class_names[0]] if class_names else []
    return generate_command(config, str(config.output_dir), *condition)


def pipeline_card(
    *,
    title: str,
    call: str,
    summary: Mapping[str, str | float],
    measured: Measured,
    sampling_rate: int,
    origin: Origin = Origin(),  # noqa: B008  # frozen
) -> str:
    """Return the card of a latent diffusion pipeline.

    Args:
        title (`str`): Hub id, or name of the folder.
        call (`str`): Arguments of an example call of the pipeline.
        summary (`Mapping`): Properties of the pipeline, one row each.
        measured (`Measured`): Values by the names in `DIFFUSION_METRICS`.
        sampling_rate (`int`): In Hz.
        origin (`Origin`): License, data sets and base model.
    """
    values = measured.values
    rows: list[list[str | float]] = [
        [DIFFUSION_METRICS[name], values[name]] for name in DIFFUSION_METRICS if name in values
    ]
    data = card_data(
        title,
        library=PACKAGE,
        task=GENERATOR_TASK,
        tags=["audio", "latent-diffusion", "diffusers"],
        origin=origin,
        sampling_rate=sampling_rate,
        measured=measured,
    )
    use = f"""## How to use

{title_note(title)}```python
from hf_audio_vae import AudioLatentDiffusionPipeline

pipeline = AudioLatentDiffusionPipeline.from_pretrained("{title}")
waveform = pipeline({call}).audios[0]  # (audio_channels, time) at pipeline.sampling_rate
```

`DiffusionPipeline.from_pretrained("{title}")` loads it, too, after `import hf_audio_vae`, which registers the class.
"""
    figures = f"""## Figures

Losses are measured on latents of the validation data, with fixed noise and times for each item:

{table(["metric", "value"], rows)}

The linear predictor is the best element-wise one; it uses only the scale of the latents. Generated latents are
compared with training data of the same classes, texts and lengths. The values are those of the worst channel.
"""
    properties = table(["", "value"], list(summary.items()))
    return card_text(data, title, use, properties, recipe_section("train-diffusion"), figures)
