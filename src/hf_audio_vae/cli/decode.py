"""Decode latents or codes written by `encode` to sound files.

The model is the one named in the file, unless --model is given. Its weights must be those that encoded the file.
"""

import argparse
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

from hf_audio_vae.audio import write_audio
from hf_audio_vae.cli.sound import add_file_arguments, add_model_arguments, load_coder, unique_stems
from hf_audio_vae.latents.storage import LatentsInfo, StoredCodes, holds_codes, load_codes, load_latents
from hf_audio_vae.models import AutoencoderModel
from hf_audio_vae.models.fingerprint import weights_fingerprint


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    add_file_arguments(parser, "decoded")
    add_model_arguments(parser, required=False)  # default: the model named in the file


@torch.no_grad()
def run(arguments: argparse.Namespace) -> None:
    """Run the command."""
    stems = unique_stems(arguments.files)
    loaded = {path: load_file(path) for path in stems}
    names = {arguments.model or info.model for info, _ in loaded.values()}
    if len(names) > 1:
        raise ValueError(
            f"the files come from several models, {sorted(names)}; decode the files of each model in a separate call."
        )
    name = names.pop()
    model = load_coder(name, arguments)
    fingerprint = weights_fingerprint(model)
    arguments.output_dir.mkdir(parents=True, exist_ok=True)
    for path, (info, decode) in loaded.items():
        if info.weights != fingerprint:
            raise ValueError(
                f"{path} was encoded with other weights than {name} has; name the right model with --model."
            )
        waveform = decode(model)[0, :, : info.num_samples]
        target = arguments.output_dir / f"{stems[path]}.wav"
        write_audio(target, waveform, info.sampling_rate)
        print(f"{target}: {info.num_samples / info.sampling_rate:.3f} s at {info.sampling_rate} Hz")


def load_file(path: Path) -> tuple[LatentsInfo, Callable[[AutoencoderModel], Tensor]]:
    """Read a file of latents or codes -> metadata and a function that decodes it to (1, channels, time)."""
    if holds_codes(path):
        stored = load_codes(path)
        return stored.info, lambda model: decode_codes(model, stored)
    mean, _, info = load_latents(path)
    return info, lambda model: model.decode(mean[None].to(model.device)).sample


def decode_codes(model: AutoencoderModel, stored: StoredCodes) -> Tensor:
    """Decode stored codes -> (1, audio_channels, time)."""
    levels = stored.codes if isinstance(stored.codes, tuple) else (stored.codes,)
    batched = tuple(level[None].to(model.device) for level in levels)
    scales = {} if stored.scales is None else {"audio_scales": stored.scales[None].to(model.device)}
    return model.decode(batched if isinstance(stored.codes, tuple) else batched[0], **scales).audio_values
