"""Generate sound with an AudioLatentDiffusionPipeline, from a class, a text, an existing sound, or unconditionally.

MODEL may also be a language model of codes; its autoencoder decodes the generated codes. For a hierarchy, MODEL is the
language model of the coarsest level, and --upsampler names those of the finer levels, from coarse to fine.

Writes a .wav file per sound, and generated.png with the spectrogram of the first sound of each class, below that of
--beside if given. --init_audio varies an existing sound. With --mask, only the range from START to END is generated.
"""

import argparse
import math
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from hf_audio_vae.audio import write_audio
from hf_audio_vae.cli.code_sounds import write_sounds_of_codes
from hf_audio_vae.cli.sound import read_for
from hf_audio_vae.evaluation.plots import spectrogram_figure
from hf_audio_vae.pipelines import AudioLatentDiffusionPipeline
from hf_audio_vae.tokens.storage import holds_tokens

OF_PIPELINES = ("prompt", "class_label", "num_inference_steps", "guidance_scale", "init_audio", "strength", "mask")
OF_LANGUAGE_MODELS = ("autoencoder", "upsampler", "temperature", "top_k", "top_p")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument(
        "model", metavar="MODEL", help="folder or Hub id of a pipeline, or of a language model of codes"
    )
    parser.add_argument("--prompt", help="text to generate for")
    parser.add_argument("--class_label", nargs="+", help="names of classes to generate, one sound each")
    parser.add_argument(
        "--seconds", type=float, help="length of a sound; default: that of --init_audio, or of the training data"
    )
    parser.add_argument("--num_waveforms", type=int, default=1, help="sounds for each class or text")
    parser.add_argument("--num_inference_steps", type=int, help="pipeline only; default 50")
    parser.add_argument("--guidance_scale", type=float, help="pipeline only; default 4")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--init_audio", type=Path, help="sound to start from")
    parser.add_argument(
        "--strength", type=float, help="strength of the change, up to 1; default 0.7, or 1 with --mask"
    )
    parser.add_argument("--mask", nargs=2, type=float, metavar=("START", "END"), help="seconds to inpaint")
    parser.add_argument("--beside", type=Path, help="real sound to show above the generated ones")
    parser.add_argument("--autoencoder", help="codec of a language model, folder or Hub id, if its path has changed")
    parser.add_argument("--upsampler", nargs="+", help="language models of the finer levels, from coarse to fine")
    parser.add_argument("--temperature", type=float, help="language model only: below 1, likely codes become likelier")
    parser.add_argument("--top_k", type=int, help="language model only: number of likeliest codes to sample from")
    parser.add_argument(
        "--top_p", type=float, help="language model only: cumulative probability of the codes to sample from"
    )
    parser.add_argument("--output_dir", type=Path, default=Path("generated"))


def refuse(arguments: argparse.Namespace, names: Sequence[str], kind: str) -> None:
    """Raise `ValueError` if one of these options is given; the model does not accept them."""
    if given := [f"--{name}" for name in names if getattr(arguments, name) is not None]:
        raise ValueError(f"{arguments.model} is {kind} and does not accept {', '.join(given)}.")


@torch.no_grad()
def run(arguments: argparse.Namespace) -> None:
    """Run the command."""
    if arguments.seconds is not None and not 0 < arguments.seconds < math.inf:
        raise ValueError(f"--seconds is {arguments.seconds}; give a length above 0.")
    if arguments.num_waveforms < 1:
        raise ValueError(f"--num_waveforms is {arguments.num_waveforms}; give 1 or more.")
    if holds_tokens(arguments.model):
        refuse(arguments, (*OF_PIPELINES, "beside"), "a language model of codes")
        write_sounds_of_codes(arguments)
        return
    refuse(arguments, OF_LANGUAGE_MODELS, "not a language model of codes")
    pipeline = AudioLatentDiffusionPipeline.from_pretrained(arguments.model)
    pipeline.vae.enable_tiling()
    pipeline.to("cuda" if torch.cuda.is_available() else "cpu")
    labels = arguments.class_label
    prompts = None if arguments.prompt is None else [arguments.prompt] * (len(labels) if labels else 1)
    audios = pipeline(
        prompts,
        labels,
        audio_end_in_s=arguments.seconds,
        num_waveforms_per_prompt=arguments.num_waveforms,
        num_inference_steps=50 if arguments.num_inference_steps is None else arguments.num_inference_steps,
        guidance_scale=4.0 if arguments.guidance_scale is None else arguments.guidance_scale,
        generator=torch.Generator().manual_seed(arguments.seed),
        init_audio=read_for(pipeline.vae, arguments.init_audio) if arguments.init_audio else None,
        strength=arguments.strength,
        mask=tuple(arguments.mask) if arguments.mask else None,
        return_dict=False,
    )[0]
    arguments.output_dir.mkdir(parents=True, exist_ok=True)
    shown: dict[str, Tensor] = {}
    if arguments.beside:
        shown[f"real: {arguments.beside.stem}"] = read_for(pipeline.vae, arguments.beside)[:, : audios.shape[-1]]
    for number, audio in enumerate(audios):
        name = labels[number // arguments.num_waveforms] if labels else "generated"
        target = arguments.output_dir / f"{number:02d}-{name.replace('/', '-')}.wav"
        write_audio(target, audio, pipeline.sampling_rate)
        shown[f"generated: {name}"] = shown.get(f"generated: {name}", audio)
        print(f"{target}: {audio.shape[-1] / pipeline.sampling_rate:.3f} s at {pipeline.sampling_rate} Hz")
    picture = arguments.output_dir / "generated.png"
    spectrogram_figure(shown, pipeline.sampling_rate).savefig(picture, dpi=120)
    print(f"spectrograms: {picture}")
