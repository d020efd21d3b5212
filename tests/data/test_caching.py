"""The folder of `datasets` cannot be written."""

from pathlib import Path

import datasets
import pytest

from hf_audio_vae.data import load_audio_stream

HELD_OUT = str(Path(__file__).parents[2] / "data/held_out")


def test_a_cache_that_cannot_be_written_is_named_with_its_variables(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "file/datasets")
    with pytest.raises(
        OSError, match=r"file/datasets, which cannot be written \(.+\); set HF_HOME or HF_DATASETS_CACHE"
    ):
        load_audio_stream(HELD_OUT)


def test_an_error_of_the_data_is_not_blamed_on_the_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(OSError, match="a-folder") as caught:
        load_audio_stream(str(tmp_path / "a-folder"))
    (tmp_path / "file").touch()
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "file/datasets")
    with pytest.raises(OSError, match="a-folder") as again:
        load_audio_stream(str(tmp_path / "a-folder"))
    assert str(again.value) == str(caught.value)
