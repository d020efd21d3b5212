"""The `inspect` command."""

import argparse
import json
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import nn

from hf_audio_vae.cli.clips import check_items, read_clips
from hf_audio_vae.cli.code_sounds import autoencoder_of
from hf_audio_vae.cli.outputs import check_writable, new_files
from hf_audio_vae.cli.sound import check_seconds, load_coder
from hf_audio_vae.cli.tables import print_json, print_remark, print_table
from hf_audio_vae.evaluation import Health, health_of
from hf_audio_vae.evaluation.reports import metrics_table
from hf_audio_vae.files import replacing
from hf_audio_vae.models import AutoencoderModel
from hf_audio_vae.models.sound_files import check_finite
from hf_audio_vae.pipelines import CodeLatents, Prior
from hf_audio_vae.tokens.storage import holds_tokens


def run(arguments: argparse.Namespace) -> int:
    """Run the command; 1 if some items cannot be read."""
    if not 0 <= arguments.min_active_share <= 1:
        raise ValueError(f"--min_active_share is {arguments.min_active_share}; give a share, from 0 to 1.")
    check_seconds(arguments.max_seconds)
    if arguments.output_dir:
        check_writable(arguments.output_dir)
    if holds_tokens(arguments.model):
        model: AutoencoderModel | CodeLatents = load_latent_coder(arguments)
    else:
        if arguments.autoencoder is not None:
            raise ValueError(
                f"--autoencoder names the codec of a TokenVAE, and {arguments.model} is no TokenVAE; leave it out."
            )
        model = load_coder(arguments.model, arguments, decodes=False)
    health = health_of(model)
    if arguments.output_dir:
        names = [f"{health.name}.json", f"{health.name}.png"]
        report, picture = new_files(arguments.output_dir, names, overwrite=arguments.overwrite)
    skipped: dict[str, str] = {}
    seconds = encode_clips(model, health, arguments, skipped)
    code = check_items(arguments, len(seconds), skipped)
    items = len(seconds)
    material = {"dataset_name": arguments.dataset_name, "dataset_split": arguments.dataset_split}
    origin = {"model": arguments.model, **material, "items": items, "seconds": sum(seconds)}
    print_health(health, origin, arguments.format)
    remark = partial(print_remark, format=arguments.format)
    remark(f"measured on `{arguments.dataset_name}`: {items} items, {sum(seconds):.1f} s, {health.frames} frames")
    if warning := health.warning(arguments.min_active_share):
        remark(f"warning: {warning}")
    if arguments.output_dir:
        write_report(report, health, origin)
        title = f"{Path(arguments.model).name} on {arguments.dataset_name}"
        with replacing(picture) as hidden:
            health.figure(title).savefig(hidden, dpi=120)
        remark(f"figure and statistics are in {arguments.output_dir}")
    return code


def print_health(health: Health, origin: Mapping[str, object], format: str) -> None:
    """Print the summary and the table of channels or codebooks; as CSV the summary, as JSON all statistics."""
    if format == "json":
        print_json({**origin, **health.numbers()})
    elif format == "csv":
        print_table({"metric": "metric", "value": "value"}, list(health.summary().items()), format)
    else:
        print(metrics_table({"value": health.summary()}))
        print(f"\n{health.table()}\n")


def load_latent_coder(arguments: argparse.Namespace) -> CodeLatents:
    """Load a TokenVAE and its codec; raises `ValueError` if the model has no latents, or an option has no effect."""
    for option in ("subfolder", "variant", "torch_dtype"):
        if getattr(arguments, option) is not None:
            raise ValueError(
                f"--{option} has no effect with {arguments.model}, a language model of codes; leave it out."
            )
    prior = Prior.from_pretrained(arguments.model, revision=arguments.revision)
    if prior.score_tokenizer is not None:
        raise ValueError(
            f"{arguments.model} is a language model of scores, which are no sound; the validation of "
            f"`hf-audio-vae train-token-vae` describes its latents."
        )
    if not prior.has_latents:
        raise ValueError(
            f"{arguments.model} is a {type(prior.model).__name__}, a language model without latents; name its "
            f"codec, {prior.info.model}."
        )
    autoencoder = autoencoder_of(arguments, prior.info)
    prior.check_autoencoder(autoencoder)
    nn.Module.to(prior.model, autoencoder.device)
    return CodeLatents(prior, autoencoder)


@torch.no_grad()
def encode_clips(
    model: AutoencoderModel | CodeLatents, health: Health, arguments: argparse.Namespace, skipped: dict[str, str]
) -> list[float]:
    """Encode the start of each item, add it to the statistics, and return the encoded seconds of each item."""
    seconds = []
    for name, clip in read_clips(model, arguments, skipped):
        encoded = model.encode(clip[None].to(model.device))
        if not model.codebook_sizes:
            posterior: Any = encoded.latent_dist
            check_finite(name, posterior.mean, posterior.std)
        health.add(encoded)
        seconds.append(clip.shape[-1] / model.sampling_rate)
    return seconds


def write_report(path: Path, health: Health, origin: Mapping[str, object]) -> None:
    """Write origin and statistics as JSON."""
    with replacing(path) as hidden:
        hidden.write_text(json.dumps({**origin, **health.numbers()}, indent=2) + "\n")
