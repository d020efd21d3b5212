"""Distances of generated sounds from a data set, from one command."""

import json
from pathlib import Path

import pytest
import torch

from hf_audio_vae.audio import write_audio
from hf_audio_vae.cli.main import main
from hf_audio_vae.evaluation.embeddings import embed, embedding_of
from hf_audio_vae.evaluation.set_distances import kernel_distance, median_distance
from tests.cli.files import noise

RATE, ITEMS = 16000, 12


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Data of noise at many levels; sounds that are more of it, and sounds that are lowpass-filtered."""
    folder = tmp_path_factory.mktemp("folders")
    for part, name in enumerate(("data", "alike", "dull")):
        (folder / name).mkdir()
        for i in range(ITEMS):
            sound = (0.3 + i / ITEMS) * noise(4 * RATE, 100 * part + i)
            if name == "dull":
                sound = torch.nn.functional.avg_pool1d(sound, 8, stride=1)
            write_audio(folder / name / f"{i}.wav", sound, RATE)
    return folder


def measured(capsys: pytest.CaptureFixture[str], generated: Path, data: Path) -> dict[str, dict[str, float]]:
    options = ["--sampling_rate", str(RATE), "--embeddings", "log_mel", "--format", "json"]
    assert main(["distances", str(generated), "--dataset_name", str(data), *options]) == 0
    return {row["distance"]: row for row in json.loads(capsys.readouterr().out)}


def test_more_of_the_data_is_as_near_as_its_halves_and_other_sound_is_far(
    folders: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    alike, dull = (measured(capsys, folders / name, folders / "data") for name in ("alike", "dull"))
    name = "KAD log_mel (↓)"
    assert dull[name]["generated"] > 20 * alike[name]["halves"]
    assert alike[name]["generated"] < 2 * alike[name]["halves"] + 0.5
    assert dull[name]["halves"] == alike[name]["halves"]


def test_the_distance_is_that_of_all_vectors_at_the_rate(folders: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = measured(capsys, folders / "dull", folders / "data")["KAD log_mel (↓)"]["generated"]
    embedding = embedding_of("log_mel", sampling_rate=RATE)
    sounds, data = (
        torch.cat([embed(embedding, factor(i), RATE) for i in range(ITEMS)])
        for factor in (
            lambda i: torch.nn.functional.avg_pool1d((0.3 + i / ITEMS) * noise(4 * RATE, 200 + i), 8, stride=1),
            lambda i: (0.3 + i / ITEMS) * noise(4 * RATE, i),
        )
    )
    assert found == pytest.approx(kernel_distance(sounds, data, bandwidth=median_distance(data)), rel=1e-2)


def test_no_sound_and_few_items_are_refused(folders: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["distances", str(tmp_path / "no"), "--dataset_name", str(folders / "data")]) == 2
    assert "there is no folder" in capsys.readouterr().err
    files = ["--data_files", "0.wav", "1.wav"]
    assert main(["distances", str(folders / "dull"), "--dataset_name", str(folders / "data"), *files]) == 2
    assert "has 2 items; give 4 or more" in capsys.readouterr().err
