"""Encode files to latents or codes, one .safetensors file each, with the metadata that decoding needs.

A file has the posterior, `mean` and `std` of shape (latent_channels, frames); or `codes` of shape (num_codebooks,
frames), integers of 16 or 32 bits. For a hierarchy, each level has its own tensor: `codes_0`, `codes_1` and so on. The
metadata has the model, a fingerprint of its weights, and the sampling rate, channels and length of the waveform.
"""

import argparse
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from hf_audio_vae.cli.sound import add_file_arguments, add_model_arguments, load_coder, read_for, unique_stems
from hf_audio_vae.evaluation.codes import has_codebooks
from hf_audio_vae.latents.storage import LatentsInfo, save_codes, save_latents
from hf_audio_vae.models import AutoencoderModel
from hf_audio_vae.models.fingerprint import weights_fingerprint


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    add_file_arguments(parser, "latents")
    add_model_arguments(parser)


@torch.no_grad()
def run(arguments: argparse.Namespace) -> None:
    """Run the command."""
    stems = unique_stems(arguments.files)
    model = load_coder(arguments.model, arguments)
    fingerprint = weights_fingerprint(model)
    arguments.output_dir.mkdir(parents=True, exist_ok=True)
    for path, stem in stems.items():
        waveform = read_for(model, path)
        info = LatentsInfo(
            model=str(Path(arguments.model).resolve()) if Path(arguments.model).is_dir() else arguments.model,
            weights=fingerprint,
            sampling_rate=model.sampling_rate,
            num_samples=waveform.shape[-1],
            audio_channels=waveform.shape[0],
            hop_length=model.hop_length,
        )
        target = arguments.output_dir / f"{stem}.safetensors"
        print(f"{target}: {encode_file(target, model, waveform, info)}")


def encode_file(target: Path, model: AutoencoderModel, waveform: Tensor, info: LatentsInfo) -> str:
    """Encode a waveform (audio_channels, time) and write the file -> description of its content."""
    output: Any = model.encode(waveform[None].to(model.device))  # output type depends on the family
    if not has_codebooks(model):
        mean, std = output.latent_dist.mean[0], output.latent_dist.std[0]
        save_latents(target, mean, std, info)
        return f"{mean.shape[0]} channels x {mean.shape[1]} frames"
    scales = getattr(output, "audio_scales", None)
    scales = None if scales is None else scales[0]
    if isinstance(output.audio_codes, Tensor):
        codes = output.audio_codes[0]
        save_codes(target, codes, info, codebook_sizes=model.codebook_sizes, scales=scales)
        return f"{codes.shape[0]} codebooks x {codes.shape[1]} frames"
    levels = [level[0] for level in output.audio_codes]
    save_codes(target, levels, info, codebook_sizes=model.codebook_sizes, scales=scales)
    return f"{len(levels)} levels of {', '.join(str(level.shape[1]) for level in levels)} frames"
