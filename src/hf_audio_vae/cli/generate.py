"""The `generate` command."""

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
