from pathlib import Path

import numpy as np
import pytest

from hf_audio_vae.audio.io import read_audio
from training.corpora import notes

RATE = notes.RENDERING_RATE


class SineSynth:
    """Plays sines, at the pitch and velocity of `noteon`, in stereo, until the note is released, up to a pitch."""

    def __init__(self) -> None:
        self.programs: list[int] = []
        self.amplitude = self.frequency = 0.0
        self.highest = 127

    def program_select(self, channel: int, soundfont: int, bank: int, program: int) -> None:
        self.programs.append(program)

    def noteon(self, channel: int, pitch: int, velocity: int) -> None:
        if pitch > self.highest:
            return
        self.frequency, self.amplitude = 440 * 2 ** ((pitch - 69) / 12), velocity / 128

    def noteoff(self, channel: int, pitch: int) -> None:
        self.amplitude = 0.0

    def sounds_off(self) -> None:
        self.amplitude = 0.0

    def generate(self, count: int) -> bytes:
        wave = self.amplitude * np.sin(2 * np.pi * self.frequency * np.arange(count) / RATE)
        return np.stack([wave, wave], axis=1).astype(np.float32).tobytes()


@pytest.fixture
def synth(monkeypatch: pytest.MonkeyPatch) -> SineSynth:
    synth = SineSynth()
    monkeypatch.setattr(notes, "synthesiser", lambda soundfont: (synth, 0))
    return synth


def test_notes_have_the_pitch_and_velocity_of_their_names_and_pitches_are_held_out(
    synth: SineSynth, tmp_path: Path
) -> None:
    out = tmp_path / "notes"
    options = (
        "--soundfont x.sf2 --instruments [flute,organ] --lowest_pitch 60 --highest_pitch 69 --velocities [64,127]"
    )
    notes.main([*options.split(), "--seconds", "0.5", "--held_out_share", "0.2", "--output_dir", str(out)])
    assert synth.programs == [notes.INSTRUMENTS["flute"], notes.INSTRUMENTS["organ"]]
    files = sorted(out.rglob("*.flac"))
    assert len(files) == 2 * 10 * 2
    for path in files:
        instrument, pitch, velocity = path.stem.split("-")
        waveform, rate = read_audio(path)
        assert (path.parent.name, rate, waveform.shape) == (instrument, 16000, (1, 8000))
        held = waveform[0, 500:5500]
        spectrum = np.abs(np.fft.rfft(held.numpy() * np.hanning(5000), 2**16))
        frequency = spectrum.argmax() * rate / 2**16
        assert abs(12 * np.log2(frequency / 440) + 69 - int(pitch)) < 0.05
        assert held.square().mean().sqrt() == pytest.approx(int(velocity) / 128 / 2**0.5, rel=0.01)
        assert waveform[0, 6100:].abs().max() < 1e-3  # released
    pitches = {split: {path.stem[:-4] for path in (out / split).rglob("*.flac")} for split in ("train", "held_out")}
    assert not pitches["train"] & pitches["held_out"]
    assert sorted(name[:5] for name in pitches["held_out"]) == ["flute"] * 2 + ["organ"] * 2


class FadingSynth(SineSynth):
    """Plays constants; a note that is cut off goes on for 10 ms."""

    fade = 0

    def noteoff(self, channel: int, pitch: int) -> None:
        """The release is longer than the file."""

    def sounds_off(self) -> None:
        self.fade, self.last, self.amplitude = RATE // 100, self.amplitude, 0.0

    def generate(self, count: int) -> bytes:
        wave = np.full((count, 2), self.amplitude, dtype=np.float32)
        if self.fade:
            wave[: self.fade] += self.last
            self.fade = max(self.fade - count, 0)
        return wave.tobytes()


def test_a_note_has_nothing_of_the_note_before() -> None:
    synth = FadingSynth()
    assert bool((notes.play(synth, 60, 64, 0.1) == 0.5).all())
    assert bool((notes.play(synth, 60, 32, 0.1) == 0.25).all())


def test_notes_that_do_not_sound_are_left_out_and_named(
    synth: SineSynth, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    synth.highest = 66
    out = tmp_path / "notes"
    options = "--soundfont x.sf2 --instruments [flute] --lowest_pitch 60 --highest_pitch 67 --velocities [64,127]"
    notes.main([*options.split(), "--output_dir", str(out)])
    files = {split: sorted((out / split).rglob("*.flac")) for split in ("train", "held_out")}
    assert max(path.stem for path in [*files["train"], *files["held_out"]]) == "flute-066-127"
    printed = capsys.readouterr().out
    assert printed.startswith(f"{len(files['train'])} notes to train on, {len(files['held_out'])} held out; ")
    assert "2 left out, which the SoundFont does not sound: flute-067-064, flute-067-127" in printed
    for highest, splits in ((59, "train and held_out"), (60, "held_out")):
        synth.highest = highest
        with pytest.raises(ValueError, match=f"x.sf2 is silent for all notes of {splits}, "):
            notes.main([*options.split(), "--output_dir", str(tmp_path / "silent")])
        assert not (tmp_path / "silent").exists()


def test_a_corpus_that_was_broken_off_has_no_name_and_is_made_again(
    synth: SineSynth, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "notes"
    options = "--soundfont x.sf2 --instruments [flute] --lowest_pitch 60 --highest_pitch 63 --velocities [64]"
    written: list[Path] = []

    def write_two(path: Path, *rest: object) -> None:
        if len(written) == 2:
            raise KeyboardInterrupt
        written.append(path)
        path.touch()

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(notes, "write_audio", write_two)
        notes.main([*options.split(), "--output_dir", str(out)])
    assert not out.exists()
    notes.main([*options.split(), "--output_dir", str(out)])
    assert len(list(out.rglob("*.flac"))) == 4
    assert [path.name for path in tmp_path.iterdir()] == ["notes"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("--instruments [kazoo]", "`instruments` has .'kazoo'.; use organ, violin"),
        ("--instruments [flute,organ,flute]", "`instruments` has .'flute'. more than once; give each once"),
        ("--velocities [64,64]", "`velocities` has .64. more than once"),
        ("--instruments []", "`instruments` is empty; give at least one"),
        ("--velocities []", "`velocities` is empty"),
        ("--held_out_share 0.99", "`held_out_share` is 0.99, which holds out all of the 37 pitches; lower it"),
        ("--sampling_rate 700000", "a .flac file has no sampling rate of 700000 Hz; use 1 to 655350"),
        ("--velocities [64,128]", "`velocities` has 128; use 1 to 127"),
        ("--lowest_pitch 60 --highest_pitch 60", "60 to 60 has fewer than 2 pitches"),
    ],
)
def test_notes_that_cannot_be_played_are_refused(synth: SineSynth, tmp_path: Path, options: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        notes.main([*options.split(), "--soundfont", "x.sf2", "--output_dir", str(tmp_path / "notes")])
    assert not (tmp_path / "notes").exists()


def test_a_file_that_is_not_a_soundfont_is_named(tmp_path: Path) -> None:
    pytest.importorskip("tinysoundfont")
    with pytest.raises(ValueError, match="x.sf2 does not exist"):
        notes.main(["--soundfont", str(tmp_path / "x.sf2"), "--output_dir", str(tmp_path / "notes")])
    (tmp_path / "x.sf2").write_bytes(b"RIFF")
    with pytest.raises(ValueError, match="x.sf2 is not a SoundFont"):
        notes.main(["--soundfont", str(tmp_path / "x.sf2"), "--output_dir", str(tmp_path / "notes")])
