"""The `arithmetic` command."""

import argparse
import math
import sys
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from hf_audio_vae.cli.arguments.arithmetic import OUTPUT_DIR
from hf_audio_vae.cli.clips import check_items, labelled_clips, open_dataset
from hf_audio_vae.cli.durations import DecodingTime
from hf_audio_vae.cli.latent_sounds import encode_sound, write_decoded
from hf_audio_vae.cli.outputs import check_new_file, new_files, printable
from hf_audio_vae.cli.sound import check_seconds, load_coder, process_files
from hf_audio_vae.data.latents import class_name
from hf_audio_vae.latents.attributes import AttributeVector, difference_of_means, mean_latents, regression
from hf_audio_vae.models import AutoencoderModel
from hf_audio_vae.models.fingerprint import model_fingerprint
from hf_audio_vae.models.sound_files import check_finite
from hf_audio_vae.tokens.storage import holds_tokens


@torch.no_grad()
def run(arguments: argparse.Namespace) -> int:
    """Run the command."""
    check(arguments)
    if holds_tokens(arguments.model, revision=arguments.revision):
        raise ValueError(f"{arguments.model} is a language model of codes; name a VAE of sound with --model.")
    targets = _targets(arguments)
    model = load_coder(arguments.model, arguments)
    if model.codebook_sizes:
        raise ValueError(f"{arguments.model} encodes to codes, which cannot be added; name a VAE with --model.")
    vector, code = attribute_of(arguments, model)
    others = [_loaded(path, model) for path in arguments.orthogonal_to]
    vector = vector.orthogonal_to(others)
    if arguments.save_vector:
        vector.save(arguments.save_vector)
        print(f"{printable(arguments.save_vector)}: {vector.name}, {len(vector.direction)} channels")
    decoding_time = DecodingTime(model)

    def process(path: Path) -> None:
        sound = encode_sound(model, path)
        for strength in strengths_of(arguments):
            target = targets[path, strength]
            decoding_time.announce(target.stem, sound.num_samples)
            write_decoded(target, model, vector.apply(sound.latents, strength), sound.num_samples)
            print(f"{printable(target)}: {sound.name} {strength:+g} {vector.name}")

    return max(code, process_files("arithmetic", arguments.files, process)) if arguments.files else code


def check(arguments: argparse.Namespace) -> None:
    """Raise `ValueError` if arguments do not fit together."""
    given = [name for name in ("vector", "add", "dataset_name") if getattr(arguments, name) is not None]
    if len(given) != 1:
        raise ValueError(
            "the direction comes from --vector, from --add and --subtract, or from --dataset_name and --label_column; "
            f"give one of them{', not ' + ' and '.join(f'--{name}' for name in given) if given else ''}."
        )
    pairs = {"add": "subtract", "dataset_name": "label_column"}
    for first, second in pairs.items():
        if (getattr(arguments, first) is None) != (getattr(arguments, second) is None):
            raise ValueError(f"--{first} and --{second} belong together; give both.")
    if arguments.label is not None and arguments.label_column is None:
        raise ValueError("--label has no effect without --label_column; leave it out.")
    for name in ("dataset_config_name", "dataset_revision", "data_files", "audio_column"):
        if getattr(arguments, name) is not None and arguments.dataset_name is None:
            raise ValueError(f"--{name} has no effect without --dataset_name; leave it out.")
    if not arguments.files and arguments.save_vector is None:
        raise ValueError("there is nothing to do; name a FILE to change, or --save_vector.")
    for name in ("strength", "output_dir"):
        if getattr(arguments, name) is not None and not arguments.files:
            raise ValueError(f"--{name} has no effect without a FILE to change; name one, or leave it out.")
    strengths = strengths_of(arguments)
    if not all(map(math.isfinite, strengths)) or len(set(strengths)) < len(strengths):
        raise ValueError(f"--strength is {strengths}; give different finite numbers.")
    check_seconds(arguments.max_seconds)
    if (file := arguments.save_vector) is not None:
        check_new_file(file, "--save_vector", overwrite=arguments.overwrite, inputs=_inputs(arguments))


def strengths_of(arguments: argparse.Namespace) -> list[float]:
    """Return the strengths, by default 1."""
    return arguments.strength or [1.0]


def _inputs(arguments: argparse.Namespace) -> list[Path]:
    """Return all files that the command reads, without the data set."""
    vectors = [*arguments.orthogonal_to, *filter(None, [arguments.vector])]
    return [*arguments.files, *(arguments.add or ()), *(arguments.subtract or ()), *vectors]


def _targets(arguments: argparse.Namespace) -> dict[tuple[Path, float], Path]:
    """Return the output file of each input and strength."""
    if not arguments.files:
        return {}
    keys = [(path, strength) for path in arguments.files for strength in strengths_of(arguments)]
    names = [f"{path.stem}{strength:+.15g}.wav" for path, strength in keys]
    folder = arguments.output_dir or OUTPUT_DIR
    files = new_files(folder, names, overwrite=arguments.overwrite, inputs=_inputs(arguments))
    return dict(zip(keys, files, strict=True))


def _names(paths: Sequence[Path]) -> str:
    """Return the names of files, in parentheses if there are several."""
    names = ", ".join(printable(path.stem) for path in paths)
    return names if len(paths) == 1 else f"({names})"


def attribute_of(arguments: argparse.Namespace, model: AutoencoderModel) -> tuple[AttributeVector, int]:
    """Return the direction that the arguments describe, and the exit code: 1 if some items cannot be read."""
    if arguments.vector is not None:
        return _loaded(arguments.vector, model), 0
    if arguments.add is not None:
        with_attribute, without = (_means(model, clips) for clips in (arguments.add, arguments.subtract))
        direction, code = difference_of_means(with_attribute, without), 0
        name = f"{_names(arguments.add)} - {_names(arguments.subtract)}"
    else:
        latents, labels, code = labelled_means(arguments, model)
        direction = direction_of_labels(latents, labels, arguments)
        name = arguments.label_column if arguments.label is None else arguments.label
    if not bool(direction.any()):
        raise ValueError(f"the direction of {name} is zero, since both sides have the same latents; give other clips.")
    return AttributeVector(name, direction.float(), model_fingerprint(model)), code


def direction_of_labels(latents: Tensor, labels: Sequence[object], arguments: argparse.Namespace) -> Tensor:
    """Return the direction of a label; raises `ValueError` if the labels do not tell clips apart.

    Args:
        latents (`torch.Tensor` of shape `(clips, latent_channels)`): From `mean_latents`.
        labels (`Sequence`): Label of each clip.
        arguments (`argparse.Namespace`): `label_column` and `label`.
    """
    if arguments.label is None:
        numbers = [label for label in labels if isinstance(label, int | float) and not isinstance(label, bool)]
        if len(numbers) < len(labels):
            raise ValueError(f"--label_column {arguments.label_column} holds names; give one of them by --label.")
        if not all(map(math.isfinite, numbers)):
            raise ValueError(f"--label_column {arguments.label_column} has infinite numbers; correct or remove them.")
        return regression(latents, torch.tensor(numbers, dtype=torch.float64)[:, None])[0]
    names = [class_name(label) for label in labels]
    chosen = torch.tensor([name == arguments.label for name in names])
    if not bool(chosen.any()) or bool(chosen.all()):
        found = ", ".join(sorted({printable(name) for name in names})[:8])
        raise ValueError(
            f"--label {arguments.label!r} divides no clips of --label_column {arguments.label_column}, which holds "
            f"{found}; give one of several."
        )
    return difference_of_means(latents[chosen], latents[~chosen])


def labelled_means(arguments: argparse.Namespace, model: AutoencoderModel) -> tuple[Tensor, list[object], int]:
    """Encode a data set; return `mean_latents` of the clips that have a label, their labels, and the exit code."""
    means, labels, skipped, unlabelled = list[Tensor](), list[object](), dict[str, str](), 0
    for clip in labelled_clips(open_dataset(arguments, keep_columns=True), model, arguments, skipped):
        if clip.label is None:
            unlabelled += 1
            continue
        mode = model.encode(clip.waveform[None].to(model.device)).latent_dist.mode()
        check_finite(clip.name, mode)
        means.append(mean_latents(mode)[0].cpu())
        labels.append(clip.label)
    code = check_items(arguments, len(means) + unlabelled, skipped)
    if not means:
        raise ValueError(f"--label_column {arguments.label_column} has no labels; name another column.")
    if unlabelled:
        print(f"{unlabelled} items have no {arguments.label_column} and are left out", file=sys.stderr)
    return torch.stack(means), labels, code


def _means(model: AutoencoderModel, clips: Sequence[Path]) -> Tensor:
    return torch.stack([mean_latents(encode_sound(model, path).latents) for path in clips])


def _loaded(path: Path, model: AutoencoderModel) -> AttributeVector:
    vector = AttributeVector.load(path)
    try:
        vector.check_model(model_fingerprint(model))
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error
    return vector
