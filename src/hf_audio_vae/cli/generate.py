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
import math
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from hf_audio_vae.audio import write_audio
from hf_audio_vae.cli.code_sounds import sounds_of_codes
from hf_audio_vae.cli.outputs import new_files, older_files, printable
from hf_audio_vae.cli.score_files import generate_scores
from hf_audio_vae.cli.sound import read_for
from hf_audio_vae.evaluation.plots import spectrogram_figure
from hf_audio_vae.files import replacing
from hf_audio_vae.pipelines import AudioLatentDiffusionPipeline
from hf_audio_vae.tokens.storage import holds_scores, holds_tokens

MAX_SECONDS, MAX_SOUNDS = 7200, 1000
PIPELINE_OPTIONS = ("prompt", "class_label", "num_inference_steps", "guidance_scale", "strength", "mask")
LANGUAGE_MODEL_OPTIONS = ("autoencoder", "upsampler", "interpolate_to", "temperature", "top_k", "top_p")
SCORE_OPTIONS = ("num_codes", "soundfont")
OUTPUTS = r"\d{2,}-.+\.(wav|mid)|generated\.png"  # names of the files of this command


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


def refuse(arguments: argparse.Namespace, names: Sequence[str], kind: str) -> None:
    """Raise `ValueError` if one of these arguments is given; the model does not accept them."""
    if given := [f"`{name}`" for name in names if getattr(arguments, name) is not None]:
        raise ValueError(f"{arguments.model} is {kind} and does not accept {', '.join(given)}; leave it out.")


def check(arguments: argparse.Namespace) -> None:
    """Raise `ValueError` if a number is out of its range for any model."""
    if arguments.audio_end_in_s is not None and not 0 < arguments.audio_end_in_s < math.inf:
        raise ValueError(f"--seconds is {arguments.audio_end_in_s}; give a length above 0.")
    for name, value in (
        ("num_waveforms", arguments.num_waveforms),
        ("num_inference_steps", arguments.num_inference_steps),
        ("num_codes", arguments.num_codes),
    ):
        if value is not None and value < 1:
            raise ValueError(f"--{name} is {value}; give 1 or more.")
    if arguments.guidance_scale is not None and arguments.prompt is None and arguments.class_label is None:
        raise ValueError("--guidance_scale has no effect without --prompt or --class_label; leave it out.")
    if arguments.guidance_scale is not None and not math.isfinite(arguments.guidance_scale):
        raise ValueError(f"--guidance_scale is {arguments.guidance_scale}; give a finite number.")
    if arguments.strength is not None and not 0 < arguments.strength <= 1:
        raise ValueError(f"--strength is {arguments.strength}; give a number above 0, at most 1.")
    if not 0 <= arguments.seed < 2**63:
        raise ValueError(f"--seed is {arguments.seed}; give 0 or more, below 2^63.")
    sounds = arguments.num_waveforms * (len(arguments.class_label) if arguments.class_label else 1)
    seconds = arguments.audio_end_in_s
    if sounds > MAX_SOUNDS or sounds * (seconds or 0) > MAX_SECONDS:
        raise ValueError(
            f"{sounds} sound(s) of {f'{seconds} s' if seconds else 'the default length'} are "
            f"requested; give at most {MAX_SOUNDS} sounds and {MAX_SECONDS} s in all, since all are in memory."
        )


@torch.no_grad()
def run(arguments: argparse.Namespace) -> None:
    """Run the command."""
    check(arguments)
    names = [label for label in arguments.class_label or ["generated"] for _ in range(arguments.num_waveforms)]
    written = write_sounds(arguments, names)
    if line := older_files(arguments.output_dir, OUTPUTS, written):
        print(line, file=sys.stderr)


def write_sounds(arguments: argparse.Namespace, names: Sequence[str]) -> list[Path]:
    """Generate and write the files of a call, and return them."""
    if holds_scores(arguments.model):
        unused = (*PIPELINE_OPTIONS, "beside", "autoencoder", "upsampler", "audio_end_in_s")
        refuse(arguments, unused, "a language model of scores")
        return generate_scores(arguments, names)
    refuse(arguments, SCORE_OPTIONS, "not a language model of scores")
    inputs = [path for path in (arguments.init_audio, arguments.interpolate_to, arguments.beside) if path]
    *targets, picture = new_files(
        arguments.output_dir,
        [*(f"{number:02d}-{name}.wav" for number, name in enumerate(names)), "generated.png"],
        overwrite=arguments.overwrite,
        inputs=inputs,
    )
    if holds_tokens(arguments.model):
        refuse(arguments, (*PIPELINE_OPTIONS, "beside"), "a language model of codes")
        audios, rate = sounds_of_codes(arguments)
        shown = {f"generated: {number}": audio for number, audio in enumerate(audios[:4])}
    else:
        refuse(arguments, LANGUAGE_MODEL_OPTIONS, "not a language model of codes")
        pipeline = AudioLatentDiffusionPipeline.from_pretrained(arguments.model)
        # Before the work, as it may be no sound.
        beside = arguments.beside and read_for(pipeline.vae, arguments.beside)
        audios, rate = sounds_of_pipeline(pipeline, arguments), pipeline.sampling_rate
        shown = {f"real: {arguments.beside.stem}": beside[:, : audios.shape[-1]]} if arguments.beside else {}
        for name, audio in zip(names, audios, strict=True):
            shown.setdefault(f"generated: {printable(name)}", audio)
    for target, audio in zip(targets, audios, strict=True):
        write_audio(target, audio, rate)
        print(f"{printable(target)}: {audio.shape[-1] / rate:.3f} s at {rate} Hz")
    with replacing(picture) as hidden:
        spectrogram_figure(shown, rate).savefig(hidden, dpi=120)
    print(f"spectrograms: {printable(picture)}")
    return [*targets, picture]


def sounds_of_pipeline(pipeline: AudioLatentDiffusionPipeline, arguments: argparse.Namespace) -> Tensor:
    """Generate sounds, (batch, audio_channels, time), class by class."""
    pipeline.vae.enable_tiling()
    pipeline.to("cuda" if torch.cuda.is_available() else "cpu")
    labels = arguments.class_label
    output: Any = pipeline(
        None if arguments.prompt is None else [arguments.prompt] * (len(labels) if labels else 1),
        labels,
        audio_end_in_s=arguments.audio_end_in_s,
        num_waveforms_per_prompt=arguments.num_waveforms,
        num_inference_steps=50 if arguments.num_inference_steps is None else arguments.num_inference_steps,
        guidance_scale=4.0 if arguments.guidance_scale is None else arguments.guidance_scale,
        generator=torch.Generator().manual_seed(arguments.seed),
        init_audio=read_for(pipeline.vae, arguments.init_audio) if arguments.init_audio else None,
        strength=arguments.strength,
        mask=tuple(arguments.mask) if arguments.mask else None,
        return_dict=False,
    )
    return output[0]
