"""Generate sound with an AudioLatentDiffusionPipeline, from a class, a text, an existing sound, or unconditionally.

MODEL may also be a language model of codes; its autoencoder decodes the generated codes. For a hierarchy, MODEL is the
language model of the coarsest level, and --upsampler names those of the finer levels, from coarse to fine. A TokenVAE
generates from new latents, from those of the start of --init_audio, or from those between it and --interpolate_to.
A language model of scores writes .mid files, and reads them as --init_audio.

Writes a .wav file per sound, and generated.png with the spectrogram of the first sound of each class, below that of
--beside if given. --init_audio varies an existing sound. With --mask, only the range from START to END is generated.
Sounds of earlier calls that are not replaced stay in the folder and are named.
"""

import argparse
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument(
        "model", metavar="MODEL", help="folder or Hub id of a pipeline, or of a language model of codes"
    )
    parser.add_argument("--prompt", help="text to generate for")
    parser.add_argument("--class_label", nargs="+", help="names of classes to generate, one sound each")
    parser.add_argument(
        "--seconds",
        dest="audio_end_in_s",
        metavar="SECONDS",
        type=float,
        help="length of a sound; default: that of --init_audio, or of the training data",
    )
    parser.add_argument("--num_waveforms", type=int, default=1, help="sounds for each class or text")
    parser.add_argument("--num_inference_steps", type=int, help="pipeline only; default 50")
    parser.add_argument("--guidance_scale", type=float, help="pipeline only; default 4")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--init_audio", type=Path, help="sound to start from")
    parser.add_argument(
        "--interpolate_to",
        type=Path,
        help="TokenVAE only: last of --num_waveforms steps from --init_audio, 2 or more",
    )
    parser.add_argument(
        "--strength", type=float, help="strength of the change, up to 1; default 0.7, or 1 with --mask"
    )
    parser.add_argument("--mask", nargs=2, type=float, metavar=("START", "END"), help="seconds to inpaint")
    parser.add_argument("--beside", type=Path, help="real sound to show above the generated ones")
    parser.add_argument("--autoencoder", help="codec of a language model, folder or Hub id, if its path has changed")
    parser.add_argument("--upsampler", nargs="+", help="language models of the finer levels, from coarse to fine")
    parser.add_argument(
        "--num_codes", type=int, help="language model of scores only: length; default that of training"
    )
    parser.add_argument("--soundfont", type=Path, help="language model of scores only: also write the sound")
    parser.add_argument("--temperature", type=float, help="language model only: below 1 favours likely codes")
    parser.add_argument("--top_k", type=int, help="language model only: number of likeliest codes to sample from")
    parser.add_argument(
        "--top_p", type=float, help="language model only: cumulative probability of the codes to sample from"
    )
    parser.add_argument("--output_dir", type=Path, default=Path("generated"))
    parser.add_argument("--overwrite", action="store_true", help="replace existing files in the output folder")
