"""Sounds that verbs write, what they print of them, and their memory."""

import re
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from safetensors.torch import load_file

from hf_audio_vae import WaveformVAE, WaveformVQVAE, WaveformVQVAEConfig
from hf_audio_vae.audio import read_audio, write_audio
from hf_audio_vae.cli.main import main
from hf_audio_vae.data.clips import random_crop
from hf_audio_vae.evaluation.metrics import reconstruction_metrics
from tests.cli.files import FILE_VERBS, RATE, in_child, noise


def test_a_peak_beyond_full_scale_is_kept_and_said(
    model: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_audio(tmp_path / "loud.wav", noise(4000) * 50, RATE)
    assert main(["reconstruct", str(tmp_path / "loud.wav"), "--model", model, "--output_dir", str(tmp_path)]) == 0
    peak = (noise(4000) * 50).abs().max()
    assert f"loud.wav: the peak is {peak:.2f}, beyond full scale; it is not clipped" in capsys.readouterr().err
    assert torch.equal(read_audio(tmp_path / "loud.original.wav")[0], noise(4000) * 50)


@pytest.mark.parametrize("verb", FILE_VERBS)
def test_a_peak_that_no_sound_has_is_refused_with_the_file(
    verb: str, model: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    soundfile.write(tmp_path / "loud.wav", (noise(4000) * 1e30).T.numpy(), RATE, subtype="FLOAT")
    assert main([verb, str(tmp_path / "loud.wav"), "--model", model, "--output_dir", str(tmp_path / "out")]) == 2
    expected = r"loud.wav: its peak is [34]\.\de\+29, and full scale is 1; scale it, or leave it out"
    assert re.search(expected, capsys.readouterr().err), "streams read blocks, which have smaller peaks"


@pytest.mark.parametrize(("rate", "count"), [(RATE, 1), (RATE, 7), (96000, 12), (96000, 1)])
def test_the_shortest_sounds_are_coded_or_refused_by_name(
    rate: int, count: int, model: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    soundfile.write(tmp_path / "a.wav", np.full((count, 6), 0.1), rate, subtype="PCM_24")
    code = main(["reconstruct", str(tmp_path / "a.wav"), "--model", model, "--output_dir", str(tmp_path / "out")])
    if rate > RATE and count == 1:
        assert code == 2
        assert "a.wav is shorter than one sample at the model's rate" in capsys.readouterr().err
        return
    assert code == 0
    written, written_rate = read_audio(tmp_path / "out/a.reconstruction.wav")
    assert written_rate == RATE
    assert written.shape == (1, round(count * RATE / rate))


def test_verbs_and_training_name_the_file_whose_channels_cancel(
    model: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    warning = "its 2 channels cancel, and their mean is more than 60 dB below them; invert the phase of one."
    (tmp_path / "data").mkdir()
    write_audio(path := tmp_path / "data" / f"{tmp_path.name}.wav", torch.cat([noise(4000), -noise(4000)]), RATE)
    assert main(["encode", str(path), "--model", model, "--output_dir", str(tmp_path / "out")]) == 0
    assert caplog.messages == [f"{path.name}: {warning}"]
    assert main(["evaluate", "--model", model, "--dataset_name", str(path.parent)]) == 0
    random_crop({"bytes": path.read_bytes(), "path": None}, 1000, 0, sampling_rate=RATE, audio_channels=1)
    assert [message.partition(": ")[2] for message in caplog.messages] == 3 * [warning]


@pytest.mark.parametrize("verb", [*FILE_VERBS, "evaluate"])
def test_a_rate_that_no_sound_has_is_refused_with_the_file(
    verb: str, model: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "data").mkdir()
    write_audio(path := tmp_path / "data/a.wav", noise(4000), 79)
    source = ["--dataset_name", str(path.parent)] if verb == "evaluate" else [str(path), "--output_dir", str(tmp_path)]
    assert main([verb, *source, "--model", model]) == 2
    assert (
        "a.wav: the audio has a sampling rate of 79 Hz, less than 1/100 of 8000 Hz; correct the rate in its header"
        in (capsys.readouterr().err)
    )
    write_audio(path, noise(400), 80)
    assert main([verb, *source, "--model", model]) == 0


@pytest.mark.parametrize("verb", FILE_VERBS)
def test_every_written_sound_has_the_rate_of_the_model(verb: str, model: str, tmp_path: Path) -> None:
    write_audio(tmp_path / "a.wav", noise(22050), 22050)
    main([verb, str(tmp_path / "a.wav"), "--model", model, "--output_dir", str(tmp_path / "out")])
    if verb == "encode":
        assert load_file(tmp_path / "out/a.safetensors")["mean"].shape[-1] == RATE // 20
        assert main(["decode", str(tmp_path / "out/a.safetensors"), "--output_dir", str(tmp_path / "out")]) == 0
    for path in (tmp_path / "out").glob("*.wav"):
        assert soundfile.info(path).samplerate == RATE
        assert soundfile.info(path).frames == RATE


def test_the_table_has_the_metrics_of_the_files_and_the_speed(
    model: str, sounds: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    ticks = iter(range(1000))
    monkeypatch.setattr(time, "perf_counter", lambda: 0.25 * next(ticks))
    files = [str(sounds / "1.wav"), str(sounds / "2.wav")]
    assert main(["reconstruct", *files, "--model", model, "--output_dir", str(tmp_path)]) == 0
    rows = [line.split("|")[1:-1] for line in capsys.readouterr().out.splitlines()[2:4]]
    for number, row in zip((1, 2), rows, strict=True):
        original, reconstruction = (
            read_audio(tmp_path / f"{number}.{kind}.wav")[0][None] for kind in ("original", "reconstruction")
        )
        expected = reconstruction_metrics(reconstruction, original, RATE)
        assert row[0].strip() == str(number)
        assert [float(cell) for cell in row[1:4]] == pytest.approx([v.item() for v in expected.values()], abs=2e-3)
        assert float(row[4]) == 0.5 / 0.5, "half a second of sound; one block and the end take two ticks"


def test_evaluate_prints_the_seconds_it_measured_and_the_speed(
    model: str, sounds: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    ticks = iter(range(1000))
    monkeypatch.setattr(time, "perf_counter", lambda: 0.25 * next(ticks))
    write_audio(sounds / "3.wav", noise(3 * RATE), RATE)
    assert main(["evaluate", "--model", model, "--dataset_name", str(sounds), "--max_seconds", "1"]) == 0
    printed = capsys.readouterr().out
    assert f"measured on `{sounds}`: 3 items, 2.0 s" in printed
    (speed,) = [line.split("|")[2] for line in printed.splitlines() if "times real time" in line]
    assert float(speed) == pytest.approx(0.5 / 0.25, abs=1e-3), "half a second of sound, coded in one tick"


def test_decode_prints_the_length_and_the_rate(model: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_audio(tmp_path / "a.wav", noise(12_345), RATE)
    main(["encode", str(tmp_path / "a.wav"), "--model", model, "--output_dir", str(tmp_path / "out")])
    printed = capsys.readouterr().out
    assert printed.startswith(f"{tmp_path / 'out/a.safetensors'}: 2 channels x 618 frames of float16, ")
    size = (tmp_path / "out/a.safetensors").stat().st_size
    kbits = 8 * size * RATE / 12_345 / 1000
    assert printed.endswith(f"{size / 1000:.1f} kB, {kbits:.1f} kbit/s with its header\n")
    main(["decode", str(tmp_path / "out/a.safetensors"), "--output_dir", str(tmp_path / "out")])
    assert capsys.readouterr().out == f"{tmp_path / 'out/a.wav'}: 1.543 s at 8000 Hz\n"


def peak_bytes(run: Callable[[], int], tmp_path: Path) -> int:
    """Most memory of a forked process that runs this, beyond that of its start."""

    def measured() -> int:
        Path("/proc/self/clear_refs").write_text("5")  # the peak is counted from here
        before = status("VmHWM")
        code = run()
        (tmp_path / "peak").write_text(str(status("VmHWM") - before))
        return code

    assert in_child(measured, tmp_path / "err") == 0, (tmp_path / "err").read_text()
    return int((tmp_path / "peak").read_text())


def status(name: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024 * next(int(line.split()[1]) for line in lines if line.startswith(name))


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["vae", "codec"])
@pytest.mark.parametrize(("verb", "minutes", "allowed"), [("encode", 9, 10e6), ("reconstruct", 4, 40e6)])
def test_memory_does_not_grow_with_the_length(
    verb: str, minutes: int, allowed: float, kind: str, tmp_path: Path
) -> None:
    # The whole signal in memory took 230 MB a minute at 8 kHz to reconstruct, and 8 MB to encode.
    sizes = {"encoder_hidden_size": 4, "decoder_hidden_size": 8, "downsampling_ratios": (8, 20), "hidden_size": 8}
    codes = {"num_codebooks": 2, "codebook_size": 16, "codebook_dim": 4, "residual_dilations": (1,)}
    if kind == "codec":
        WaveformVQVAE(WaveformVQVAEConfig(sampling_rate=RATE, **sizes, **codes)).save_pretrained(tmp_path / "model")
    else:
        WaveformVAE(4, (8, 20), (1, 2), 4, 2, 1, RATE).save_pretrained(tmp_path / "model")
    paths = [tmp_path / f"{length}.wav" for length in (1, minutes)]
    for path in paths:  # before both measurements, which start from the memory of this process
        write_audio(path, noise(60 * int(path.stem) * RATE), RATE)
    peaks = []
    for path in paths:
        command = [verb, str(path), "--model", str(tmp_path / "model"), "--output_dir", str(tmp_path / "out")]
        peaks.append(peak_bytes(lambda command=command: main(command), tmp_path))
    assert peaks[1] - peaks[0] < allowed
