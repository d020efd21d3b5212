"""Decode latents that `encode` wrote to sound files.

The model is the one the file names, unless another place is given; its weights have to be those that encoded.
"""

import argparse

import torch

from hf_audio_vae.audio import write_audio
from hf_audio_vae.cli.sound import add_file_arguments, add_model_arguments, load_model, unique_stems
from hf_audio_vae.latents import load_latents
from hf_audio_vae.models.fingerprint import weights_fingerprint


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the verb's arguments."""
    add_file_arguments(parser, "decoded")
    add_model_arguments(parser, required=False)  # found where it was when encoding, if not named


@torch.no_grad()
def run(arguments: argparse.Namespace) -> None:
    """Carry out the verb."""
    stems = unique_stems(arguments.files)
    loaded = {path: load_latents(path) for path in stems}
    names = {arguments.model or info.model for _, _, info in loaded.values()}
    if len(names) > 1:
        raise ValueError(f"the files come from several models, {sorted(names)}; decode each model's in its own call.")
    name = names.pop()
    model = load_model(name, arguments)
    fingerprint = weights_fingerprint(model)
    arguments.output_dir.mkdir(parents=True, exist_ok=True)
    for path, (mean, _, info) in loaded.items():
        if info.weights != fingerprint:
            raise ValueError(f"{path} was encoded with other weights than {name} has; name their model with --model.")
        waveform = model.decode(mean[None].to(model.device)).sample[0, :, : info.num_samples]
        target = arguments.output_dir / f"{stems[path]}.wav"
        write_audio(target, waveform, info.sampling_rate)
        print(f"{target}: {info.num_samples / info.sampling_rate:.3f} s at {info.sampling_rate} Hz")
