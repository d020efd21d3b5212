"""The `doctor` command."""

import argparse
from collections.abc import Iterator
from dataclasses import astuple, fields
from pathlib import Path
from typing import Any

import torch

from hf_audio_vae.audio import open_audio
from hf_audio_vae.audio.resampling import check_rates
from hf_audio_vae.cli.inputs import sound_files
from hf_audio_vae.cli.outputs import printable
from hf_audio_vae.cli.priors import stored_prior
from hf_audio_vae.cli.sound import check_model_files, check_seconds, prepare_coder
from hf_audio_vae.cli.tables import print_remark, print_table
from hf_audio_vae.comparison.doctor import (
    Finding,
    SoundChecks,
    check_pairing,
    check_prior,
    check_statistics,
    check_weights,
    described,
    exit_code,
    page,
)
from hf_audio_vae.files.location import model_location
from hf_audio_vae.latents import LatentPrior
from hf_audio_vae.models import AutoencoderModel, load_autoencoder
from hf_audio_vae.models.lora import is_adapter
from hf_audio_vae.models.sound_files import UnusableFileError, errors_with_path
from hf_audio_vae.tokens.storage import holds_tokens

FIELDS = [field.name for field in fields(Finding)]


def run(arguments: argparse.Namespace) -> int:
    """Run the command."""
    check_seconds(arguments.max_seconds)
    name = printable(arguments.model)
    if holds_tokens(arguments.model, revision=arguments.revision):
        raise ValueError(f"{name} is a language model of codes or scores; check its codec, and use `inspect` for it.")
    findings: list[Finding] = []
    model = loaded(arguments, findings)
    if model is not None:
        print_remark("\n".join(described(name, model)) + "\n", arguments.format)
        findings.append(check_weights(model))
        if findings[-1].level == "ok":
            prepare_coder(arguments.model, model)
            findings += checks(arguments, model)
    if arguments.format == "markdown":
        print(page(findings))
    else:
        print_table({name: name for name in FIELDS}, [astuple(finding) for finding in findings], arguments.format)
    return exit_code(findings)


def loaded(arguments: argparse.Namespace, findings: list[Finding]) -> AutoencoderModel | None:
    """Load the model; `None` and a finding if its files are faulty.

    Raises:
        ValueError, OSError: There is no such model.
    """
    check_model_files(arguments.model, arguments.subfolder)
    options: dict[str, Any] = {
        name: getattr(arguments, name) for name in ("subfolder", "revision", "variant", "torch_dtype")
    }
    adapted = is_adapter(arguments.model, subfolder=arguments.subfolder, revision=arguments.revision)
    try:
        model = load_autoencoder(arguments.model, **options).eval()
    except (ValueError, OSError) as error:
        if not Path(model_location(arguments.model)).is_dir():
            raise
        findings.append(Finding("error", "adapter" if adapted else "files", " ".join(str(error).split())))
        return None
    if adapted:
        findings.append(Finding("ok", "adapter", "it is merged into the model that it was trained on"))
    return model


def checks(arguments: argparse.Namespace, model: AutoencoderModel) -> Iterator[Finding]:
    """Yield the findings on a model with finite weights, and on the files."""
    yield check_pairing(model)
    prior: LatentPrior | None = None
    if not model.codebook_sizes:
        problem = None
        try:
            prior = stored_prior(arguments, model)
        except ValueError as error:
            problem = str(error)
        yield check_prior(prior, problem)
        yield check_statistics(printable(arguments.model), model, prior)
    sounds = SoundChecks(model, prior)
    for path, name in sound_files(arguments.files).items():
        yield from file_findings(path, printable(name), sounds, model, arguments.max_seconds)
    yield from sounds.together()


def file_findings(
    path: Path, name: str, sounds: SoundChecks, model: AutoencoderModel, max_seconds: float
) -> Iterator[Finding]:
    """Yield the findings on a file."""
    try:
        with errors_with_path(path), open_audio(path, thorough=True) as reader:
            rate = reader.sampling_rate
            check_rates(rate, model.sampling_rate)
            waveform = reader.read(0, min(reader.num_samples, max(1, round(max_seconds * rate))))
            if not waveform.numel() or not bool(torch.isfinite(waveform).all()):
                raise ValueError("it is empty, or has NaN or infinite samples; repair it, or leave it out")
            yield from sounds.add(name, waveform, rate)
    except UnusableFileError as error:
        yield Finding("error", name, printable(error))
