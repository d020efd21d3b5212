"""Folder of a trained pipeline: models, recipe, metrics and card."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from diffusers import DiffusionPipeline

from hf_audio_vae.evaluation.card_metadata import without_folders
from hf_audio_vae.evaluation.cards import pipeline_card
from hf_audio_vae.evaluation.reports import DIFFUSION_METRICS
from hf_audio_vae.training.latent_diffusion.config import LatentDiffusionTrainingConfig
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
    arguments += [f'class_labels="{names[0]}"'] if names else []
    networks = (pipeline.transformer, pipeline.conditioner)
    summary = {
        "parameters of the denoiser": f"{sum(p.numel() for n in networks for p in n.parameters()) / 1e6:.2f} M",
        "sampling rate": f"{pipeline.vae.sampling_rate} Hz",
        "longest sound": f"{pipeline.transformer.config.sample_size / pipeline.vae.frame_rate:.2f} s",
        "classes": ", ".join(names) or "none",
        "texts": without_folders(config.text_encoder_name_or_path or "none"),
        "process": config.process,
        "training steps": f"{history[-1]['step']:.0f}",
    }
    card = pipeline_card(
        title=title,
        call=", ".join(arguments),
        summary=summary,
        measured=measured_in_run(config, history[-1], DIFFUSION_METRICS),
        sampling_rate=pipeline.vae.sampling_rate,
        origin=origin_of_run(config),
    )
    write_run(folder, config.model_dump(mode="json", exclude_none=True), history, card)
