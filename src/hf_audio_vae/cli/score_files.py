"""The `generate` command for language models of scores: MIDI files, and their sound with a SoundFont."""

import argparse
import math
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from hf_audio_vae.audio import write_audio
from hf_audio_vae.cli.code_sounds import frames_bar, given_latents, sampling_of
from hf_audio_vae.cli.outputs import new_files, printable
from hf_audio_vae.files import replacing
from hf_audio_vae.pipelines import Prior, generate_codes

SAMPLING_RATE, TAIL_SECONDS = 44100, 1.0


@torch.no_grad()
def generate_scores(arguments: argparse.Namespace, names: Sequence[str]) -> list[Path]:
    """Write a .mid file for each name, and with --soundfont a .wav file; return them.

    Raises:
        ValueError: A score cannot be read, the model has no latents, or a package is missing.
    """
    if arguments.soundfont is not None:
        synthesiser(arguments.soundfont)  # refused before anything is written
    endings = [".mid"] if arguments.soundfont is None else [".mid", ".wav"]
    inputs = [path for path in (arguments.init_audio, arguments.interpolate_to, arguments.soundfont) if path]
    targets = new_files(
        arguments.output_dir,
        [f"{number:02d}-{name}{ending}" for number, name in enumerate(names) for ending in endings],
        overwrite=arguments.overwrite,
        inputs=inputs,
    )
    prior = Prior.from_pretrained(arguments.model)
    tokenizer: Any = prior.score_tokenizer
    length = arguments.num_codes or prior.info.segment_units
    latents = given_latents(arguments, prior, partial(read_codes, prior))
    with frames_bar(length) as progress:
        codes = generate_codes(
            prior,
            length,
            batch_size=len(names),
            latents=latents,
            sampling=sampling_of(arguments),
            generator=torch.Generator().manual_seed(arguments.seed),
            progress=progress,
        )
    for index, item in enumerate(codes):
        score = tokenizer.decode(item)
        midi = targets[index * len(endings)]
        with replacing(midi) as hidden:
            hidden.write_bytes(score.dumps_midi())
        print(f"{printable(midi)}: {score.note_num()} notes")
        if arguments.soundfont is not None:
            target = targets[index * len(endings) + 1]
            waveform = rendered(midi, arguments.soundfont)
            write_audio(target, waveform, SAMPLING_RATE)
            print(f"{printable(target)}: {waveform.shape[-1] / SAMPLING_RATE:.3f} s at {SAMPLING_RATE} Hz")
    return targets


def read_codes(prior: Prior, path: Path) -> Tensor:
    """Return the codes of a score, (1, 1, length), at most as many as the model reads; print what they leave out.

    Raises:
        ValueError: The score cannot be read, or none of its notes has codes.
    """
    import symusic  # comes with miditok

    tokenizer: Any = prior.score_tokenizer
    try:
        score: Any = symusic.Score(path)
        codes = tokenizer.encode(score)[:, : prior.info.segment_units]
    except (RuntimeError, OSError, ValueError) as error:
        raise ValueError(f"{path} is not a score that can be read: {' '.join(str(error).split())}") from error
    used = tokenizer.decode(codes) if codes.shape[1] else None
    if used is None or not used.note_num():
        raise ValueError(
            f"{path} has {score.note_num()} notes, none of which the model can read; name a score whose first track "
            f"has notes in the pitch range of the tokenizer."
        )
    notes = f"{used.note_num()} of {score.note_num()} notes"
    tracks = f"{len(used.tracks)} of {len(score.tracks)} tracks"
    beats = f"{_beats(used)} of {_beats(score)} beats"
    print(
        f"{printable(path)}: {notes}, {tracks} and {beats} are used; the model reads {prior.info.segment_units} codes "
        f"of the first track",
        file=sys.stderr,
    )
    return codes[None]


def _beats(score: Any) -> int:
    return math.ceil(score.end() / score.tpq)


def synthesiser(soundfont: Path) -> Any:
    """Return a synthesiser that plays a SoundFont; raises `ValueError` if it cannot be used."""
    if not soundfont.exists():
        raise ValueError(f"{soundfont} does not exist; name a SoundFont (.sf2) with --soundfont.")
    try:
        import tinysoundfont
    except ImportError as error:
        raise ValueError("--soundfont needs tinysoundfont; install it with `pip install tinysoundfont`.") from error
    synth = tinysoundfont.Synth(samplerate=SAMPLING_RATE)
    try:
        synth.program_select(0, synth.sfload(str(soundfont)), 0, 0)
    except Exception as error:  # its own errors are of the type `Exception`
        raise ValueError(f"{soundfont} is not a SoundFont: {' '.join(str(error).split())}") from error
    return synth


def rendered(midi: Path, soundfont: Path) -> Tensor:
    """Return the sound of a MIDI file, (2, time) at 44.1 kHz; raises as `synthesiser`."""
    import tinysoundfont

    synth = synthesiser(soundfont)
    sequencer = tinysoundfont.Sequencer(synth)
    sequencer.midi_load(str(midi))
    pieces = []
    while not sequencer.is_empty():
        pieces.append(_next_samples(synth, sequencer, 0.05))
    pieces.append(_next_samples(synth, sequencer, TAIL_SECONDS))
    return torch.from_numpy(np.concatenate(pieces)).T  # (time, 2) -> (2, time)


def _next_samples(synth: Any, sequencer: Any, seconds: float) -> np.ndarray:
    """Play on, and return the samples, (time, 2)."""
    sequencer.process(seconds)
    samples = np.frombuffer(bytes(synth.generate(round(seconds * SAMPLING_RATE))), dtype=np.float32)
    return samples.reshape(-1, 2).copy()
