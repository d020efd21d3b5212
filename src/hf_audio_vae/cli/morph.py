"""The `morph` command."""

import argparse
import re
import sys
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from hf_audio_vae.cli.arguments.morph import NUM_WAVEFORMS
from hf_audio_vae.cli.durations import DecodingTime
from hf_audio_vae.cli.latent_sounds import EncodedSound, encode_sound, write_decoded
from hf_audio_vae.cli.outputs import new_files, older_files, printable
from hf_audio_vae.cli.sound import load_coder
from hf_audio_vae.files.location import model_location
from hf_audio_vae.latents.morphing import ALIGNMENTS, Alignment, morphs, moving_morph
from hf_audio_vae.latents.warping import Warp
from hf_audio_vae.tokens.storage import holds_tokens

MAX_SOUNDS = 1000


@torch.no_grad()
def run(arguments: argparse.Namespace) -> None:
    """Run the command."""
    check(arguments)
    model = load_coder(arguments.model, arguments)
    if model.codebook_sizes:
        first, last = arguments.files[0], arguments.files[-1]
        raise ValueError(
            f"{arguments.model} encodes to codes, and there is no path between codes; name a VAE with --model, or "
            f"interpolate with a TokenVAE of the codes: hf-audio-vae generate TOKENVAE --init_audio {first} "
            f"--interpolate_to {last}"
        )
    steps = steps_of(arguments)
    ends = f"{arguments.files[0].stem}-to-{arguments.files[-1].stem}.wav"
    targets = new_files(
        arguments.output_dir,
        [ends] if arguments.moving else [f"{step:02d}-{ends}" for step in range(steps)],
        overwrite=arguments.overwrite,
        inputs=arguments.files,
    )
    sounds = [encode_sound(model, path) for path in arguments.files]
    alignment = ALIGNMENTS[arguments.align]([sound.latents for sound in sounds])
    method = arguments.method
    hop = model.hop_length
    found = moved(alignment, sounds, method, hop) if arguments.moving else path_of(alignment, sounds, steps, method)
    decoding_time = DecodingTime(model)
    for target, (latents, length, description) in zip(targets, found, strict=True):
        num_samples = min(latents.shape[-1] * hop, length)
        decoding_time.announce(target.stem, num_samples)
        write_decoded(target, model, latents, num_samples)
        print(f"{printable(target)}: {num_samples / model.sampling_rate:.3f} s, {description}")
    longer_path = rf"\d{{2,}}-{re.escape(targets[0].name.partition('-')[2])}"  # of an earlier call
    if not arguments.moving and (line := older_files(arguments.output_dir, longer_path, targets)):
        print(line, file=sys.stderr)


def check(arguments: argparse.Namespace) -> None:
    """Raise `ValueError` if arguments do not fit together, or the model is a language model of codes."""
    if len(arguments.files) < 2:
        raise ValueError(f"{arguments.files[0]} is the only file; name two sounds or more.")
    if arguments.moving and arguments.num_waveforms is not None:
        raise ValueError("--num_waveforms has no effect with --moving, which writes one sound; leave one out.")
    if arguments.num_waveforms is not None and not 2 <= arguments.num_waveforms <= MAX_SOUNDS:
        raise ValueError(
            f"--num_waveforms is {arguments.num_waveforms}; give 2 to {MAX_SOUNDS}, the number of sounds with both "
            f"ends."
        )
    if not arguments.moving and (steps := steps_of(arguments)) < (least := len(arguments.files)):
        raise ValueError(
            f"--num_waveforms is {steps}, for a path through {least} sounds, some of which would be left out; give "
            f"{least} or more."
        )
    if holds_tokens(model_location(arguments.model), revision=arguments.revision):
        first, last = arguments.files[0], arguments.files[-1]
        raise ValueError(
            f"{arguments.model} is a language model of codes; if it is a TokenVAE, interpolate with: hf-audio-vae "
            f"generate {arguments.model} --init_audio {first} --interpolate_to {last} --num_waveforms {NUM_WAVEFORMS}"
        )


def steps_of(arguments: argparse.Namespace) -> int:
    """Return the number of sounds on the path."""
    return NUM_WAVEFORMS if arguments.num_waveforms is None else arguments.num_waveforms


def path_of(
    alignment: Alignment, sounds: Sequence[EncodedSound], steps: int, method: str
) -> Iterator[tuple[Tensor, int, str]]:
    """Yield the latents, the length in samples and a description of each sound of the path."""
    for morph in morphs(alignment, len(sounds), steps, method=method):
        first, second = sounds[morph.leg : morph.leg + 2]
        length = round(alignment.length(first.num_samples, second.num_samples, morph.weight))
        weights = ((1 - morph.weight, first), (morph.weight, second))
        yield morph.latents, length, " + ".join(f"{weight:.3f} {sound.name}" for weight, sound in weights if weight)


def moved(
    alignment: Alignment, sounds: Sequence[EncodedSound], method: str, hop: int
) -> Iterator[tuple[Tensor, int, str]]:
    """Yield the latents, the length in samples and a description of the moving sound."""
    latents, last = moving_morph(alignment, method=method), sounds[-1]
    length = max(sound.num_samples for sound in sounds)
    if isinstance(alignment, Warp):  # it ends in the timing of the last sound, so its last frame is as full
        length = last.num_samples + (latents.shape[-1] - last.latents.shape[-1]) * hop
    yield latents, length, f"from {' to '.join(sound.name for sound in sounds)}"
