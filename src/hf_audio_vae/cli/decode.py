"""Decode latents or codes that `encode` wrote to sound files.

The model is the one the file names, unless another place is given; its weights have to be those that encoded.
"""

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from hf_audio_vae.audio import write_audio
from hf_audio_vae.cli.sound import add_file_arguments, add_model_arguments, load_coder, unique_stems
from hf_audio_vae.latents.storage import LatentsInfo, StoredCodes, holds_codes, load_codes, load_latents
from hf_audio_vae.models import AutoencoderModel
from hf_audio_vae.models.fingerprint import weights_fingerprint


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the verb's arguments."""
    add_file_arguments(parser, "decoded")
    add_model_arguments(parser, required=False)  # found where it was when encoding, if not named


@torch.no_grad()
def run(arguments: argparse.Namespace) -> None:
    """Carry out the verb."""
    stems = unique_stems(arguments.files)
    loaded = {path: load_file(path) for path in stems}
    names = {arguments.model or info.model for info, _ in loaded.values()}
    if len(names) > 1:
        raise ValueError(f"the files come from several models, {sorted(names)}; decode each model's in its own call.")
    name = names.pop()
    model = load_coder(name, arguments)
    fingerprint = weights_fingerprint(model)
    arguments.output_dir.mkdir(parents=True, exist_ok=True)
    for path, (info, decode) in loaded.items():
        if info.weights != fingerprint:
            raise ValueError(f"{path} was encoded with other weights than {name} has; name their model with --model.")
        waveform = decode(model)[0, :, : info.num_samples]
        target = arguments.output_dir / f"{stems[path]}.wav"
        write_audio(target, waveform, info.sampling_rate)
        print(f"{target}: {info.num_samples / info.sampling_rate:.3f} s at {info.sampling_rate} Hz")


def load_file(path: Path) -> tuple[LatentsInfo, Callable[[AutoencoderModel], Tensor]]:
    """Read a file of either kind; -> what it says of itself, and how a model decodes it to (1, channels, time)."""
    if holds_codes(path):
        stored = load_codes(path)
        return stored.info, lambda model: decode_codes(model, stored)
    mean, _, info = load_latents(path)
    return info, lambda model: model.decode(mean[None].to(model.device)).sample


def decode_codes(model: Any, stored: StoredCodes) -> Tensor:
    """-> (1, audio_channels, time)."""
    levels = stored.codes if isinstance(stored.codes, tuple) else (stored.codes,)
    batched = tuple(level[None].to(model.device) for level in levels)
    scales = {} if stored.scales is None else {"audio_scales": stored.scales[None].to(model.device)}
    return model.decode(batched if isinstance(stored.codes, tuple) else batched[0], **scales).audio_values
