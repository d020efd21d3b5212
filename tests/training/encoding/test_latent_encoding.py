import errno
import json
import math
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import datasets
import numpy as np
import pyarrow
import pyarrow.parquet as pq
import pytest
import soundfile
import torch

from hf_audio_vae import WaveformVAE
from hf_audio_vae.audio import convert_channels, io, read_audio, resample
from hf_audio_vae.data import load_audio_stream, read_record
from hf_audio_vae.files import exclusive
from hf_audio_vae.training.encoding.dataset import encode_dataset, tally
from tests.data.latent_data import record
from tests.memory import PeakBytes
from tests.training.runs import REPO, TWO_PROCESSES, environment, run

SCRIPT = str(REPO / "training/encode_latents.py")
RATE = 8000
HOP = 6
LESS = "less than one frame at"  # of 0.75 ms


def tiny_model(seed: int = 0) -> WaveformVAE:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return WaveformVAE(4, (2, 3), (1, 2), 4, 2, 1, RATE).eval()


def encoded_by(folder: Path, source: datasets.IterableDataset, **options) -> datasets.Dataset:
    model = tiny_model()
    model.enable_tiling()
    settings = {"hop_length": HOP, "latent_channels": 2, "items_per_file": 2} | options.pop("record", {})
    with torch.no_grad():
        encode_dataset(model, source, folder, record(**settings), **options)
    return datasets.load_dataset("parquet", data_files=str(folder / "data/*.parquet"), split="train").with_format("np")


def write_noise(path: Path, seconds: float, seed: int = 0, rate: int = RATE) -> None:
    noise = np.random.default_rng(seed).normal(0, 0.1, round(seconds * rate))
    soundfile.write(path, noise.astype(np.float32), rate, "FLOAT")


@pytest.fixture
def sounds(tmp_path: Path) -> Path:
    """Seven files of noise with a text and a kind."""
    folder = tmp_path / "sounds"
    folder.mkdir()
    for i in range(7):
        write_noise(folder / f"{i}.wav", 0.1 + 0.05 * i, seed=i, rate=RATE if i != 3 else 11025)
    lines = [f"{i}.wav,the sound {i},{'ab'[i % 2]}" for i in range(7)]
    (folder / "metadata.csv").write_text("\n".join(["file_name,text,kind", *lines]) + "\n")
    return folder


def test_a_row_is_the_posterior_of_its_item_with_all_its_columns(sounds: Path, tmp_path: Path) -> None:
    rows = encoded_by(tmp_path / "out", load_audio_stream(str(sounds), keep_columns=True))
    assert len(rows) == 7
    for i, row in enumerate(rows):
        waveform, rate = read_audio(sounds / f"{i}.wav")
        waveform = resample(convert_channels(waveform, 1), rate, RATE)[:, : int(row["num_samples"])]
        assert abs(row["num_samples"] - RATE * (0.1 + 0.05 * i)) <= 1
        with torch.no_grad():
            posterior = tiny_model().encode(waveform[None]).latent_dist
        for name in ("mean", "std"):
            expected = getattr(posterior, name)[0].T  # (latent_channels, frames) -> (frames, latent_channels)
            torch.testing.assert_close(torch.from_numpy(row[name]), expected, rtol=0, atol=1e-6)
        assert row["frames"] == len(row["mean"]) == -(-row["num_samples"] // HOP)
        assert (row["text"], row["kind"]) == (f"the sound {i}", "ab"[i % 2])
        assert Path(str(row["path"])).name == f"{i}.wav"


def test_latents_in_half_precision_are_narrowed_once_and_measured_as_they_are_stored(
    sounds: Path, tmp_path: Path
) -> None:
    source = load_audio_stream(str(sounds), keep_columns=True)
    whole = encoded_by(tmp_path / "32", source)
    half = encoded_by(tmp_path / "16", source, record={"latents_dtype": "float16"})
    assert (half.features["mean"].dtype, whole.features["mean"].dtype) == ("float16", "float32")
    for exact, row in zip(whole, half, strict=True):
        for name in ("mean", "std"):
            np.testing.assert_array_equal(row[name], exact[name].astype(np.float16).astype(np.float32))
    stored = np.concatenate([row["mean"] for row in half]).astype(np.float64)
    np.testing.assert_allclose(tally(tmp_path / "16").moments.mean, stored.mean(axis=0), rtol=1e-5, atol=1e-7)


def test_a_long_item_goes_on_in_new_rows_and_nothing_is_lost_between_them(sounds: Path, tmp_path: Path) -> None:
    source = load_audio_stream(str(sounds), keep_columns=True)
    whole = encoded_by(tmp_path / "whole", source)
    short = encoded_by(tmp_path / "short", source, record={"max_row_seconds": 0.11})
    assert max(short["frames"]) == 146  # 0.11 s are 146.7 frames
    assert max(short["num_samples"]) <= 0.11 * RATE
    for row in whole:
        pieces = [piece for piece in short if piece["path"] == row["path"]]
        assert [int(piece["start_sample"]) for piece in pieces] == [
            HOP * sum(int(before["frames"]) for before in pieces[:k]) for k in range(len(pieces))
        ]
        np.testing.assert_allclose(np.concatenate([piece["mean"] for piece in pieces]), row["mean"], atol=1e-6)
        assert sum(int(piece["num_samples"]) for piece in pieces) == row["num_samples"]


@pytest.mark.slow
def test_memory_does_not_grow_with_the_file(tmp_path: Path) -> None:
    peaks = []
    for seconds in (18, 162):
        folder = tmp_path / str(seconds)
        folder.mkdir()
        write_noise(folder / "long.wav", seconds)
        source = load_audio_stream(str(folder))
        with PeakBytes(torch.zeros(1)) as count:
            rows = encoded_by(tmp_path / f"out{seconds}", source, record={"max_row_seconds": 4.5})
        assert len(rows) == seconds / 4.5  # 6000 frames each
        peaks.append(count.peak)
    assert peaks[1] < 1.1 * peaks[0]


def parquet_of(folder: Path, shards: int, items: int) -> datasets.IterableDataset:
    audio = pyarrow.struct({"bytes": pyarrow.binary(), "path": pyarrow.string()})
    folder.mkdir()
    for shard in range(shards):
        rows = []
        for i in range(shard, items, shards):
            write_noise(folder / "sound.wav", 0.05, seed=i)
            rows.append({"bytes": (folder / "sound.wav").read_bytes(), "path": f"{i}.wav"})
        pq.write_table(pyarrow.table({"audio": pyarrow.array(rows, audio)}), folder / f"train-{shard}.parquet")
    (folder / "sound.wav").unlink()
    return load_audio_stream(str(folder), audio_column="audio", keep_columns=True)


def files_in(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in (folder / "data").iterdir()}


@pytest.mark.parametrize("shards", [1, 3])
def test_any_number_of_processes_writes_the_same_files(shards: int, tmp_path: Path) -> None:
    source = parquet_of(tmp_path / "source", shards, 11)
    encoded_by(tmp_path / "alone", source)
    alone = files_in(tmp_path / "alone")
    for world_size in (2, 3, 4):
        shares = []
        for rank in range(world_size):
            folder = tmp_path / f"{world_size}"
            before = set(files_in(folder)) if folder.exists() else set()
            with torch.no_grad():
                model = tiny_model()
                model.enable_tiling()
                settings = record(hop_length=HOP, latent_channels=2, items_per_file=2)
                encode_dataset(model, source, folder, settings, rank=rank, world_size=world_size)
            shares.append(len(set(files_in(folder)) - before))
        assert files_in(folder) == alone
        assert max(shares) - min(shares) <= (2 if shards > 1 else 1), "nobody has it all"


def test_the_statistics_are_those_of_all_frames(sounds: Path, tmp_path: Path) -> None:
    rows = encoded_by(tmp_path / "out", load_audio_stream(str(sounds)))
    mean, std = (np.concatenate([row[name] for row in rows]).astype(np.float64) for name in ("mean", "std"))
    total = tally(tmp_path / "out")
    np.testing.assert_allclose(total.moments.mean.numpy(), mean.mean(axis=0), rtol=1e-12)
    expected = np.sqrt(mean.var(axis=0) + (std**2).mean(axis=0))
    np.testing.assert_allclose(total.moments.std.numpy(), expected, rtol=1e-12)
    assert (total.rows, total.items, total.moments.frames) == (7, 7, len(mean))
    assert total.seconds == pytest.approx(sum(rows["num_samples"]) / RATE)


def test_an_item_that_cannot_be_decoded_is_left_out_and_named(sounds: Path, tmp_path: Path) -> None:
    (sounds / "2.wav").write_bytes(b"not audio")
    rows = encoded_by(tmp_path / "out", load_audio_stream(str(sounds)))
    assert [Path(str(path)).name for path in rows["path"]] == [f"{i}.wav" for i in (0, 1, 3, 4, 5, 6)]
    (name,) = tally(tmp_path / "out").skipped
    assert Path(name).name == "2.wav"


def test_what_the_model_makes_nothing_finite_of_is_left_out_of_rows_and_statistics(
    sounds: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(io, "HIGHEST_PEAK", math.inf)
    samples = np.full(RATE // 10, 3e38, dtype=np.float32)  # finite, but not after a layer
    soundfile.write(sounds / "2.wav", samples, RATE, "FLOAT")
    rows = encoded_by(tmp_path / "out", load_audio_stream(str(sounds)))
    total = tally(tmp_path / "out")
    assert len(rows) == total.items == 6
    assert "NaN or infinite" in next(iter(total.skipped.values()))
    assert bool(total.moments.std.isfinite().all())


def test_a_peak_that_no_sound_has_is_left_out_and_named(sounds: Path, tmp_path: Path) -> None:
    soundfile.write(sounds / "2.wav", np.full(RATE // 10, 1e30, dtype=np.float32), RATE, "FLOAT")
    encoded_by(tmp_path / "out", load_audio_stream(str(sounds)))
    assert "its peak is 1.0e+30" in next(iter(tally(tmp_path / "out").skipped.values()))


def test_a_file_that_cannot_be_written_is_no_bad_item(
    sounds: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pq.ParquetWriter, "write_table", lambda *_: (_ for _ in ()).throw(OSError("no space left")))
    with pytest.raises(OSError, match="no space left"):
        encoded_by(tmp_path / "out", load_audio_stream(str(sounds)))
    assert not list((tmp_path / "out/data").iterdir())


def command(model: Path, source: Path, output_dir: Path, *options: str, launcher: tuple[str, ...] = ()) -> list[str]:
    arguments = ["--model", str(model), "--dataset_name", str(source), "--output_dir", str(output_dir)]
    return [sys.executable, *launcher, SCRIPT, *arguments, "--items_per_file", "2", *options]


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A saved model, and the latents of the sound in the repository by one undisturbed run."""
    folder = tmp_path_factory.mktemp("undisturbed")
    tiny_model().save_pretrained(folder / "model")
    plain = folder / "plain"
    shutil.copytree(folder / "model", plain)
    finished = run(command(plain, REPO / "data/held_out", folder / "latents"))
    assert finished.returncode == 0, finished.stderr
    assert "times real time" in finished.stderr
    return folder / "model", folder / "latents"


def test_the_statistics_are_in_the_record_and_in_the_model(undisturbed: tuple[Path, Path]) -> None:
    model, latents = undisturbed
    measured = read_record(latents)
    loaded = WaveformVAE.from_pretrained(model.with_name("plain"))
    assert loaded.config.latents_mean == measured.latents_mean
    rows = datasets.load_dataset(str(latents), split="train").with_format("torch")
    z = torch.cat([row["mean"] + row["std"] * torch.randn(row["std"].shape) for row in rows]).T[None]
    normalized = loaded.normalize_latents(z)
    assert normalized.mean(dim=2).abs().max() < 0.02
    assert (normalized.std(dim=2) - 1).abs().max() < 0.02
    assert measured.complete
    assert (measured.items, measured.rows) == (12, 12)


def test_statistics_that_are_there_are_kept(undisturbed: tuple[Path, Path], tmp_path: Path) -> None:
    WaveformVAE(4, (2,), (1,), 4, 2, 1, RATE, False, (1.0, 2.0), (3.0, 4.0)).save_pretrained(tmp_path / "model")
    finished = run(command(tmp_path / "model", REPO / "data/held_out", tmp_path / "latents"))
    assert finished.returncode == 0, finished.stderr
    assert "has statistics already" in finished.stderr
    assert WaveformVAE.from_pretrained(tmp_path / "model").config.latents_std == [3.0, 4.0]
    assert read_record(tmp_path / "latents").latents_std != [3.0, 4.0]


@pytest.mark.slow
@pytest.mark.parametrize("signal_", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_killed_at_a_random_moment_and_resumed_equals_an_undisturbed_run(
    undisturbed: tuple[Path, Path], tmp_path: Path, signal_: signal.Signals
) -> None:
    model, expected = undisturbed
    chance = random.Random(int(signal_))
    kills = 0
    for _ in range(3):
        arguments = command(model, REPO / "data/held_out", tmp_path)
        process = subprocess.Popen(
            arguments,
            env=environment(),
            cwd=REPO,
            stderr=subprocess.DEVNULL,
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # ignored in a shell's background jobs
        )
        deadline = time.monotonic() + 100
        count = len(list(tmp_path.glob("data/*")))
        while len(list(tmp_path.glob("data/*"))) == count and process.poll() is None:
            assert time.monotonic() < deadline
            time.sleep(0.002)
        time.sleep(chance.uniform(0, 0.05))
        process.send_signal(signal_)
        kills += process.wait() != 0
    assert kills, "every run had ended before it could be killed"
    finished = run(command(model, REPO / "data/held_out", tmp_path))
    assert finished.returncode == 0, finished.stderr
    rows, wanted = (datasets.load_dataset(str(folder), split="train") for folder in (tmp_path, expected))
    assert rows.features == wanted.features
    assert len(rows) == len(wanted)
    assert all(row == other for row, other in zip(rows, wanted, strict=True))
    assert read_record(tmp_path).latents_std == read_record(expected).latents_std
    assert files_in(tmp_path) == files_in(expected)


@pytest.mark.slow
def test_two_real_processes_lose_nothing(undisturbed: tuple[Path, Path], tmp_path: Path) -> None:
    model, expected = undisturbed
    finished = run(command(model, REPO / "data/held_out", tmp_path, launcher=TWO_PROCESSES))
    assert finished.returncode == 0, finished.stderr
    assert files_in(tmp_path) == files_in(expected)
    assert read_record(tmp_path).latents_std == read_record(expected).latents_std


@pytest.mark.slow
def test_an_error_of_one_process_is_that_of_all(undisturbed: tuple[Path, Path], tmp_path: Path) -> None:
    model, _ = undisturbed
    (tmp_path / "sounds").mkdir()
    (tmp_path / "sounds/a.wav").write_bytes(b"no sound")
    finished = run(command(model, tmp_path / "sounds", tmp_path / "latents", launcher=TWO_PROCESSES))
    assert finished.returncode == 1
    assert finished.stderr.count("error: 1 items cannot be decoded, more than `max_bad_share` 0.1") == 2
    assert "RuntimeError" not in finished.stderr  # of a process that lost the connection to the first


@pytest.mark.parametrize(("seconds", "reason"), [("1e-9", LESS), ("0.0007", LESS), ("1e308", "too long")])
def test_a_row_of_no_frame_is_refused_by_its_option(
    seconds: str, reason: str, undisturbed: tuple[Path, Path], tmp_path: Path
) -> None:
    finished = run(command(undisturbed[0], REPO / "data/held_out", tmp_path, "--max_row_seconds", seconds))
    assert finished.returncode == 2
    assert f"error: `max_row_seconds` is {float(seconds):g}, {reason}" in finished.stderr


def test_processes_that_are_not_connected_are_refused(
    undisturbed: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    arguments = command(undisturbed[0], REPO / "data/held_out", tmp_path / "out")
    connected = run(arguments)
    assert "number of processes: 1, device:" in connected.stderr
    monkeypatch.setattr("tests.training.runs.environment", lambda: {"WORLD_SIZE": "2", "HF_HUB_OFFLINE": "1"})
    alone = run(arguments)
    assert alone.returncode == 2
    assert "2 processes were launched, but accelerate has connected none" in alone.stderr


def test_a_model_that_cannot_be_written_is_named_at_the_start_and_stays(
    sounds: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tiny_model().save_pretrained(tmp_path / "model")

    def refuse(dir: Path) -> None:  # the permissions of folders do not hold for root, who may run the tests
        raise OSError(errno.EROFS, os.strerror(errno.EROFS), str(dir))

    monkeypatch.setattr(tempfile, "TemporaryFile", refuse)
    finished = run(command(tmp_path / "model", sounds, tmp_path / "out"))
    assert finished.returncode == 0, finished.stderr
    warning = "model cannot be written (Read-only file system): its config will have no statistics"
    assert finished.stderr.index(warning) < finished.stderr.index("s of sound in")
    assert json.loads((tmp_path / "model/config.json").read_text())["latents_mean"] is None
    assert len(read_record(tmp_path / "out").latents_mean) == 2


def test_another_model_does_not_go_on_in_the_folder(undisturbed: tuple[Path, Path], tmp_path: Path) -> None:
    _, latents = undisturbed
    tiny_model(seed=1).save_pretrained(tmp_path / "other")
    finished = run(command(tmp_path / "other", REPO / "data/held_out", latents))
    assert finished.returncode == 2
    assert "made with other settings: weights; choose another `--output_dir`" in finished.stderr


def test_a_second_run_in_one_folder_is_refused(undisturbed: tuple[Path, Path], tmp_path: Path) -> None:
    with exclusive(tmp_path / "out"):
        finished = run(command(undisturbed[0], REPO / "data/held_out", tmp_path / "out"))
    assert finished.returncode == 2
    assert "out is in use by process" in finished.stderr
    assert not list((tmp_path / "out").iterdir())


def test_a_source_that_has_changed_is_encoded_again_where_it_has(
    sounds: Path, undisturbed: tuple[Path, Path], tmp_path: Path
) -> None:
    assert run(command(undisturbed[0], sounds, tmp_path / "out")).returncode == 0
    (sounds / "1.wav").unlink()
    write_noise(sounds / "4.wav", 0.2, seed=20)
    (sounds / "metadata.csv").unlink()
    again = run(command(undisturbed[0], sounds, tmp_path / "out"))
    assert again.returncode == 0, again.stderr
    assert "1 items are gone from the source and from the data set: 1.wav" in again.stderr
    assert "1 items have changed and are encoded again: 4.wav" in again.stderr
    assert run(command(undisturbed[0], sounds, tmp_path / "fresh")).returncode == 0
    assert files_in(tmp_path / "out") == files_in(tmp_path / "fresh")
    assert read_record(tmp_path / "out") == read_record(tmp_path / "fresh")


def test_too_many_bad_items_fail_the_run(sounds: Path, undisturbed: tuple[Path, Path], tmp_path: Path) -> None:
    for i in (0, 3):
        (sounds / f"{i}.wav").write_bytes(b"not audio")
    finished = run(command(undisturbed[0], sounds, tmp_path / "out"))
    assert finished.returncode == 1
    assert "2 items cannot be decoded, more than `max_bad_share` 0.1" in finished.stderr
    again = run(command(undisturbed[0], sounds, tmp_path / "out", "--max_bad_share", "0.5"))
    assert again.returncode == 0, again.stderr
    assert read_record(tmp_path / "out").items == 5
