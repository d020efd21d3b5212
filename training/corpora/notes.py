"""Write a corpus of notes that a SoundFont plays: one folder an instrument, pitch and velocity in the file name.

The names follow NSynth (Engel et al., arXiv:1704.01279): `flute-060-100.flac` is middle C at velocity 100. Some
pitches of every instrument are in `held_out` only, for all velocities.

pip install "hf-audio-vae[scores]"
python training/corpora/notes.py --soundfont FluidR3_GM.sf2 --output_dir outputs/notes
"""

import random
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from hf_audio_vae.audio.io import check_written_rate, write_audio
from hf_audio_vae.audio.resampling import resample
from hf_audio_vae.data.corpus import new_folder
from hf_audio_vae.training.config import parse_config
from hf_audio_vae.training.script import main_or_exit
from hf_audio_vae.training.sections import Section, Size

MAX_NAMES = 5  # in a message
RENDERING_RATE = 48000  # Hz; the synthesiser does not filter what it resamples
FADE = RENDERING_RATE // 20  # samples; a note that is cut off fades within 10 ms, if need be in the next note
LEAST = 2**-16  # half of the step of 16 bits; a file of smaller samples has only zeros
# Instruments of General MIDI that hold their pitch: name of the folder -> program.
INSTRUMENTS = {"organ": 19, "violin": 40, "cello": 42, "trumpet": 56, "horn": 60, "saxophone": 65, "oboe": 68}
INSTRUMENTS |= {"clarinet": 71, "flute": 73, "piano": 0, "vibraphone": 11, "guitar": 24}


class NoteCorpusConfig(Section):
    """Options of the corpus."""

    soundfont: Path = Field(description="SoundFont file (.sf2) of General MIDI, such as FluidR3_GM (MIT license)")
    output_dir: Path = Field(description="new folder for `train` and `held_out`")
    sampling_rate: Size = Field(16000, description="sampling rate of the files in Hz")
    instruments: tuple[str, ...] = Field(tuple(INSTRUMENTS), description=f"instruments, of {', '.join(INSTRUMENTS)}")
    lowest_pitch: int = Field(48, ge=0, le=127, description="lowest pitch as a MIDI number; 60 is middle C")
    highest_pitch: int = Field(84, ge=0, le=127, description="highest pitch")
    velocities: tuple[Size, ...] = Field((50, 75, 100, 127), description="velocities, 1 to 127")
    seconds: float = Field(
        1.0, gt=0, le=60, description="length of each file in seconds; the note lasts three quarters"
    )
    held_out_share: float = Field(0.1, gt=0, lt=1, description="share of the pitches of each instrument to hold out")
    seed: int = Field(0, description="seed of the choice of pitches to hold out")

    @property
    def pitches(self) -> range:
        """Pitches of every instrument."""
        return range(self.lowest_pitch, self.highest_pitch + 1)

    @property
    def num_held_out(self) -> int:
        """Number of pitches of every instrument to hold out."""
        return max(1, round(self.held_out_share * len(self.pitches)))


def synthesiser(soundfont: Path) -> tuple[Any, int]:
    """Return the synthesiser and the number of its SoundFont."""
    if not soundfont.exists():
        raise ValueError(f"{soundfont} does not exist; name a SoundFont (.sf2) with `--soundfont`.")
    try:
        import tinysoundfont
    except ImportError as error:
        raise ValueError('notes need tinysoundfont; install it with `pip install "hf-audio-vae[scores]"`.') from error
    synth = tinysoundfont.Synth(samplerate=RENDERING_RATE)
    try:
        return synth, synth.sfload(str(soundfont))
    except Exception as error:  # its own errors are of the type `Exception`
        raise ValueError(f"{soundfont} is not a SoundFont: {' '.join(str(error).split())}") from error


def play(synth: Any, pitch: int, velocity: int, seconds: float) -> Tensor:
    """Return a note of the chosen program, (1, time) at the rendering rate; it is released after three quarters."""
    held = round(0.75 * seconds * RENDERING_RATE)
    synth.noteon(0, pitch, velocity)
    pieces = [_samples(synth, held)]
    synth.noteoff(0, pitch)
    pieces.append(_samples(synth, round(seconds * RENDERING_RATE) - held))
    synth.sounds_off()
    _samples(synth, FADE)
    return torch.from_numpy(np.concatenate(pieces)).mean(dim=1)[None]  # (time, 2) -> (1, time)


def _samples(synth: Any, count: int) -> np.ndarray:
    return np.frombuffer(bytes(synth.generate(count)), dtype=np.float32).reshape(-1, 2)


def check(config: NoteCorpusConfig) -> None:
    """Raise `ValueError` if the options name no notes, or no notes to train on."""
    check_written_rate("note.flac", config.sampling_rate)
    for option, values in (("instruments", config.instruments), ("velocities", config.velocities)):
        if not values:
            raise ValueError(f"`{option}` is empty; give at least one.")
        if repeated := sorted({value for value in values if values.count(value) > 1}):
            raise ValueError(f"`{option}` has {repeated} more than once; give each once.")
    if unknown := sorted(set(config.instruments) - set(INSTRUMENTS)):
        raise ValueError(f"`instruments` has {unknown}; use {', '.join(INSTRUMENTS)}.")
    if max(config.velocities) > 127:
        raise ValueError(f"`velocities` has {max(config.velocities)}; use 1 to 127.")
    pitches = config.pitches
    if len(pitches) < 2:
        raise ValueError(f"{config.lowest_pitch} to {config.highest_pitch} has fewer than 2 pitches to split.")
    if config.num_held_out >= len(pitches):
        raise ValueError(
            f"`held_out_share` is {config.held_out_share:g}, which holds out all of the {len(pitches)} pitches; lower "
            f"it, or give more pitches."
        )
    if config.output_dir.exists():
        raise ValueError(f"{config.output_dir} exists; remove it, or choose another `--output_dir`.")


def write_notes(
    output_dir: Path, synth: Any, instrument: str, config: NoteCorpusConfig
) -> tuple[Counter[str], list[str]]:
    """Write the notes of an instrument.

    Returns:
        `tuple`: The number of files of each split, and the names of the notes that the SoundFont does not sound.
    """
    chosen = random.Random(f"{config.seed} {instrument}")
    held_out = set(chosen.sample(config.pitches, config.num_held_out))
    counts: Counter[str] = Counter()
    silent = []
    for pitch in config.pitches:
        split = "held_out" if pitch in held_out else "train"
        folder = output_dir / split / instrument
        for velocity in config.velocities:
            name = f"{instrument}-{pitch:03d}-{velocity:03d}"
            note = resample(play(synth, pitch, velocity, config.seconds), RENDERING_RATE, config.sampling_rate)
            if float(note.abs().max()) < LEAST:
                silent.append(name)
                continue
            folder.mkdir(parents=True, exist_ok=True)
            write_audio(folder / f"{name}.flac", note, config.sampling_rate)
            counts[split] += 1
    return counts, silent


def main(argv: Sequence[str]) -> None:
    """Play all notes and write them."""
    config = parse_config(NoteCorpusConfig, argv)
    check(config)
    synth, soundfont = synthesiser(config.soundfont)
    counts: Counter[str] = Counter()
    silent: list[str] = []
    with new_folder(config.output_dir) as folder:
        for instrument in config.instruments:
            synth.program_select(0, soundfont, 0, INSTRUMENTS[instrument])
            written, unheard = write_notes(folder, synth, instrument, config)
            counts += written
            silent += unheard
        if empty := [split for split in ("train", "held_out") if not counts[split]]:
            raise ValueError(
                f"{config.soundfont} is silent for all notes of {' and '.join(empty)}, {len(silent)} in all; give "
                f"other pitches or velocities."
            )
    minutes = counts.total() * config.seconds / 60
    left_out = f"; {len(silent)} left out, which the SoundFont does not sound: {_some(silent)}" if silent else ""
    print(
        f"{counts['train']} notes to train on, {counts['held_out']} held out; {minutes:.1f} min in "
        f"{config.output_dir}{left_out}"
    )


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:MAX_NAMES]) + (", ..." if len(names) > MAX_NAMES else "")


if __name__ == "__main__":
    main_or_exit(main)
