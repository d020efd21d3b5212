"""Encode files to latents or codes, one .safetensors file each, with the metadata that decoding needs.

A file has the posterior, `mean` and `std` of shape (latent_channels, frames); or `codes` of shape (num_codebooks,
frames), integers of 16 or 32 bits. For a hierarchy, each level has its own tensor: `codes_0`, `codes_1` and so on. The
metadata has the model, its fingerprint (of weights and configuration), and the sampling rate, channels and length of
the waveform. With --quantization_step, the file has compressed latents without `std`.
"""

import argparse

from hf_audio_vae.cli.arguments.shared import add_file_arguments, add_model_arguments


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    add_file_arguments(parser, "latents")
    add_model_arguments(parser)
    parser.add_argument(
        "--latents_dtype", choices=("float16", "float32"), help="of mean and std in the files; default float16"
    )
    parser.add_argument(
        "--quantization_step",
        type=float,
        help="write quantized and entropy-coded latents, with this step in standard deviations of the posterior: 1 "
        "has a small error, 3 that of a sample of the posterior (extra `coding`)",
    )
