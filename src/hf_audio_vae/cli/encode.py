"""Encode files to latents: one .safetensors each, with what decoding needs.

A file holds the posterior, `mean` and `std` of shape (latent_channels, frames), and in its metadata the model, a
fingerprint of its weights, and the waveform's rate, channels and length.
"""

import argparse
from pathlib import Path

import torch

from hf_audio_vae.cli.sound import add_file_arguments, add_model_arguments, load_model, read_for, unique_stems
from hf_audio_vae.latents import LatentsInfo, save_latents
from hf_audio_vae.models.fingerprint import weights_fingerprint


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the verb's arguments."""
    add_file_arguments(parser, "latents")
    add_model_arguments(parser)


@torch.no_grad()
def run(arguments: argparse.Namespace) -> None:
    """Carry out the verb."""
    stems = unique_stems(arguments.files)
    model = load_model(arguments.model, arguments)
    fingerprint = weights_fingerprint(model)
    arguments.output_dir.mkdir(parents=True, exist_ok=True)
    for path, stem in stems.items():
        waveform = read_for(model, path)
        posterior = model.encode(waveform[None].to(model.device)).latent_dist
        info = LatentsInfo(
            model=str(Path(arguments.model).resolve()) if Path(arguments.model).is_dir() else arguments.model,
            weights=fingerprint,
            sampling_rate=model.sampling_rate,
            num_samples=waveform.shape[-1],
            audio_channels=waveform.shape[0],
            hop_length=model.hop_length,
        )
        target = arguments.output_dir / f"{stem}.safetensors"
        save_latents(target, posterior.mean[0], posterior.std[0], info)
        print(f"{target}: {posterior.mean.shape[1]} channels x {posterior.mean.shape[2]} frames")
