"""From sound to codes, to a language model of them, and to sound again."""

import json
import sys
from pathlib import Path

import datasets
import numpy as np
import pytest
import soundfile
import torch
import yaml

from hf_audio_vae.audio import read_audio
from hf_audio_vae.cli.main import main
from hf_audio_vae.data import CodesRecord, load_audio_stream
from hf_audio_vae.models import HierarchicalVQVAE, HierarchicalVQVAEConfig, WaveformVQVAE, WaveformVQVAEConfig
from hf_audio_vae.training.encoding.config import EncodingConfig
from hf_audio_vae.training.encoding.dataset import encode_dataset, tally
from hf_audio_vae.training.encoding.row_encoders import completed, record_for
from tests.memory import PeakBytes
from tests.training.runs import REPO, run

RATE = 8000
SETTINGS = {"model": "m", "weights": "0", "source": {}, "items_per_file": 2, "max_row_seconds": 60.0}


def codec(**changes: object) -> WaveformVQVAE:
    torch.manual_seed(0)
    sizes = {"encoder_hidden_size": 4, "decoder_hidden_size": 16, "downsampling_ratios": (5, 8), "hidden_size": 8}
    sizes |= {"sampling_rate": RATE, "num_codebooks": 3, "codebook_size": 11, "codebook_dim": 4}
    return WaveformVQVAE(WaveformVQVAEConfig(**sizes | changes)).eval()


def hierarchy() -> HierarchicalVQVAE:
    torch.manual_seed(0)
    sizes = {"downsampling_counts": (3, 1), "strides": (2, 2), "level_multipliers": (1, 1), "hidden_size": 4}
    sizes |= {"sampling_rate": RATE, "width": 4, "depth": 1, "codebook_size": 13}
    return HierarchicalVQVAE(HierarchicalVQVAEConfig(**sizes)).eval()


@pytest.fixture
def sounds(tmp_path: Path) -> Path:
    """Three files of noise with a text; the second does not fill its last frame."""
    folder = tmp_path / "sounds"
    folder.mkdir()
    for i, samples in enumerate((800, 1234, 2000)):
        noise = np.random.default_rng(i).normal(0, 0.1, samples)
        soundfile.write(folder / f"{i}.wav", noise.astype(np.float32), RATE, "FLOAT")
    (folder / "metadata.csv").write_text("file_name,text\n" + "".join(f"{i}.wav,sound {i}\n" for i in range(3)))
    return folder


def encoded(model: WaveformVQVAE | HierarchicalVQVAE, sounds: Path, out: Path, **changes: object) -> CodesRecord:
    model.enable_tiling()
    record = record_for(model, SETTINGS | changes)
    with torch.no_grad():
        encode_dataset(model, load_audio_stream(str(sounds), keep_columns=True), out, record)
    finished = completed(record, tally(out))
    assert isinstance(finished, CodesRecord)
    finished.write(out)
    return finished


@pytest.mark.parametrize("make", [codec, hierarchy])
@pytest.mark.parametrize("max_row_seconds", [60.0, 0.05])
def test_rows_are_the_codes_of_their_items_and_counted(make, max_row_seconds: float, sounds: Path, tmp_path: Path):
    model = make()
    record = encoded(model, sounds, tmp_path / "out", max_row_seconds=max_row_seconds)
    rows = datasets.load_dataset(str(tmp_path / "out"), split="train").with_format("torch")
    counts = [torch.zeros(size, dtype=torch.int64) for sizes in record.codebook_sizes for size in sizes]
    for i in range(3):
        waveform, _ = read_audio(sounds / f"{i}.wav")
        with torch.no_grad():
            codes = make().encode(waveform[None]).audio_codes
        levels = codes if isinstance(codes, tuple) else (codes,)
        pieces = [row for row in rows if Path(row["path"]).name == f"{i}.wav"]
        assert (len(pieces) > 1) == (max_row_seconds == 0.05)
        assert {row["text"] for row in pieces} == {f"sound {i}"}
        assert sum(int(row["num_samples"]) for row in pieces) == waveform.shape[1]
        for column, level in zip(record.columns, levels, strict=True):
            assert torch.equal(torch.cat([row[column] for row in pieces]), level[0].T)
        for row in pieces:
            shares = [len(row[column]) // int(row["frames"]) for column in record.columns]
            assert shares == [model.hop_length // hop for hop in record.hop_lengths]
        for number, values in enumerate(codebook for level in levels for codebook in level[0]):
            counts[number] += torch.bincount(values, minlength=len(counts[number]))
    assert record.code_counts == [count.tolist() for count in counts]
    assert record.items == 3


@pytest.mark.slow
def test_memory_does_not_grow_with_the_length_of_an_item(tmp_path: Path) -> None:
    peaks = []
    for seconds in (60, 240):
        folder = tmp_path / str(seconds)
        folder.mkdir()
        noise = np.random.default_rng(0).normal(0, 0.1, seconds * RATE).astype(np.float32)
        soundfile.write(folder / "long.wav", noise, RATE, "FLOAT")
        with PeakBytes(torch.zeros(1)) as count:
            record = encoded(codec(), folder, tmp_path / f"out{seconds}", max_row_seconds=5.0)
        assert record.rows == seconds // 5
        peaks.append(count.peak)
    assert peaks[1] < 1.1 * peaks[0]


def test_a_file_without_rows_adds_nothing(sounds: Path, tmp_path: Path) -> None:
    (sounds / "1.wav").write_bytes(b"no sound")
    record = encoded(codec(), sounds, tmp_path / "out", items_per_file=1)
    assert record.items == record.rows == 2
    assert [Path(name).name for name in record.skipped] == ["1.wav"]
    rows = datasets.load_dataset(str(tmp_path / "out"), split="train").with_format("torch")
    frames = sum(len(row["codes"]) for row in rows)
    assert [sum(counts) for counts in record.code_counts or []] == [frames] * 3


def test_only_the_last_row_of_an_item_says_so(sounds: Path, tmp_path: Path) -> None:
    encoded(codec(), sounds, tmp_path / "out", max_row_seconds=0.05)
    rows = datasets.load_dataset(str(tmp_path / "out"), split="train")
    names = [row["path"] for row in rows]
    assert len(set(names)) == 3 < len(names)
    assert [row["last"] for row in rows] == [a != b for a, b in zip(names, [*names[1:], ""], strict=True)]


def test_a_record_says_where_the_model_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "pipeline/vae").mkdir(parents=True)
    common = {"dataset_name": "d", "output_dir": "o", "model_subfolder": "vae"}
    here = EncodingConfig(model="pipeline", **common)
    assert here.location() == {"model": str(tmp_path / "pipeline/vae")}
    there = EncodingConfig(model="somebody/pipeline", model_revision="v2", **common)
    record = record_for(codec(), SETTINGS | there.location())
    assert (record.model, record.model_subfolder, record.model_revision) == ("somebody/pipeline", "vae", "v2")


def test_a_codec_that_cannot_be_cut_encodes_items_as_a_whole(sounds: Path, tmp_path: Path) -> None:
    codec(norm="time_group_norm").save_pretrained(tmp_path / "model")
    finished = run(encode_command(tmp_path))
    assert finished.returncode == 0, finished.stderr
    assert "each item is encoded as a whole: " in finished.stderr
    row = datasets.load_dataset(str(tmp_path / "codes"), split="train").with_format("torch")[2]
    with torch.no_grad():
        expected = codec(norm="time_group_norm").encode(read_audio(sounds / "2.wav")[0][None]).audio_codes[0].T
    assert torch.equal(row["codes"], expected)


def test_codes_that_are_no_whole_sound_are_refused() -> None:
    with pytest.raises(ValueError, match="divides each sound by its loudness"):
        record_for(codec(normalize=True), SETTINGS)
    with pytest.raises(ValueError, match="`latents_dtype` has no effect on the codes of a WaveformVQVAE"):
        record_for(codec(), SETTINGS, latents_dtype="float32")


def prior_recipe(folder: Path, name: str, **changes: object) -> list[str]:
    recipe = {
        "dataset_name": str(folder / "codes"),
        "validation_dataset_name": str(folder / "codes"),
        "segment_seconds": 0.2,
        "dataloader_num_workers": 0,
        "train_batch_size": 4,
        "max_train_steps": 2,
        "model": {"n_embd": 8, "n_layer": 1, "n_head": 1},
        "report_to": "none",
    }
    path = folder / f"{name}.yaml"
    path.write_text(yaml.safe_dump(recipe | changes))
    script = str(REPO / "training/train_token_prior.py")
    return [sys.executable, script, "--config", str(path), "--output_dir", str(folder / name)]


def encode_command(folder: Path) -> list[str]:
    arguments = ["--model", folder / "model", "--dataset_name", folder / "sounds", "--output_dir", folder / "codes"]
    return [sys.executable, str(REPO / "training/encode_latents.py"), *map(str, arguments), "--items_per_file", "2"]


def test_from_sound_to_a_prior_to_sound_by_the_scripts(
    sounds: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    codec().save_pretrained(tmp_path / "model")
    finished = run(encode_command(tmp_path))
    assert finished.returncode == 0, finished.stderr
    assert CodesRecord.read(tmp_path / "codes").complete
    finished = run(prior_recipe(tmp_path, "prior", order="delayed"))
    assert finished.returncode == 0, finished.stderr
    options = [
        "--seconds",
        "0.33",
        "--num_waveforms",
        "2",
        "--top_k",
        "5",
        "--top_p",
        "0.9",
        "--output_dir",
        str(tmp_path / "out"),
    ]
    assert main(["generate", str(tmp_path / "prior"), *options]) == 0, capsys.readouterr().err
    made, rates = zip(*(read_audio(tmp_path / f"out/0{i}-generated.wav") for i in range(2)), strict=True)
    assert [sound.shape for sound in made] == 2 * [(1, round(0.33 * RATE))]
    assert rates == (RATE, RATE)
    assert not torch.equal(*made)
    assert (tmp_path / "out/generated.png").read_bytes().startswith(b"\x89PNG")
    moved = str((tmp_path / "model").rename(tmp_path / "elsewhere"))
    for options, message in (
        (["--overwrite", "--prompt", "a drum", "--guidance_scale", "0"], "does not accept --prompt, --guidance_scale"),
        (["--overwrite", "--upsampler", str(tmp_path / "prior")], "have no levels; leave out --upsampler"),
        (["--overwrite", "--temperature", "0"], "--temperature is 0.0; give a number from"),
        (["--seconds", "1e9"], "s are requested; give at most"),
        ([], "exists; name another --output_dir, or give --overwrite"),
        (["--overwrite"], "Name it with --autoencoder"),
    ):
        assert main(["generate", str(tmp_path / "prior"), "--output_dir", str(tmp_path / "out"), *options]) == 2
        assert message in capsys.readouterr().err
    options = ["--autoencoder", moved, "--seconds", "0.1", "--output_dir", str(tmp_path / "again")]
    assert main(["generate", str(tmp_path / "prior"), *options]) == 0, capsys.readouterr().err
    tokens = json.loads((tmp_path / "prior/code_tokens.json").read_text())
    tokens["codes"]["weights"] = "0" * 64
    (tmp_path / "prior/code_tokens.json").write_text(json.dumps(tokens))
    again = ["--autoencoder", moved, "--output_dir", str(tmp_path / "again"), "--overwrite"]
    assert main(["generate", str(tmp_path / "prior"), *again]) == 2
    assert "has other weights than the autoencoder of" in capsys.readouterr().err


def test_a_hierarchy_is_written_level_by_level_and_decoded(
    sounds: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    hierarchy().save_pretrained(tmp_path / "model")
    for arguments in (
        encode_command(tmp_path),
        prior_recipe(tmp_path, "top", segment_seconds=0.05),
        prior_recipe(tmp_path, "up", segment_seconds=0.02, level=0, upsample_from_level=1),
    ):
        finished = run(arguments)
        assert finished.returncode == 0, finished.stderr
    options = ["--upsampler", str(tmp_path / "up"), "--seconds", "0.1", "--output_dir", str(tmp_path / "out")]
    assert main(["generate", str(tmp_path / "top"), *options]) == 0, capsys.readouterr().err
    assert read_audio(tmp_path / "out/00-generated.wav")[0].shape == (1, round(0.1 * RATE))
