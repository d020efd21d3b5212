import json
from dataclasses import replace
from pathlib import Path

import datasets
import pytest

from hf_audio_vae.data import read_record
from hf_audio_vae.data.latent_records import latent_features
from tests.data.latent_data import record, write_latents


def test_a_record_comes_back_as_it_was(tmp_path: Path) -> None:
    written = record(rows=3, items=2, seconds=1.5, latents_mean=[0.1, 1 / 3, -2.0], latents_std=[1.0, 2.0, 3.0])
    written.write(tmp_path)
    assert read_record(tmp_path) == written
    assert written.complete
    assert not record().complete
    assert written.frame_rate == 100.0


def test_records_differ_by_how_latents_were_made_not_by_what_came_of_it() -> None:
    assert record().differences(record(rows=5, model="elsewhere")) == []
    other = replace(record(), weights="1" * 64, items_per_file=5)
    assert record().differences(other) == ["items_per_file", "weights"]


def test_a_record_of_an_earlier_version_is_compared_by_its_weights(tmp_path: Path) -> None:
    before, after = record(weights="1a", rows=0), record(weights="1a-2b", rows=0)
    assert before.differences(after) == []
    assert after.differences(replace(after, weights="1a-3c")) == ["configuration values"]
    before.check_weights("1a-2b", "latents of the Hub")
    with pytest.raises(ValueError, match="encoded by .*, with other configuration values than the given autoencoder"):
        after.check_weights("1a-3c", "latents of the Hub")


def test_a_folder_without_latents_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"has no latents\.json"):
        read_record(tmp_path)
    (tmp_path / "latents.json").write_text(json.dumps({"format": "another"}))
    with pytest.raises(ValueError, match="not in the format 'hf_audio_vae.latent_dataset.v1'"):
        read_record(tmp_path)


@pytest.mark.parametrize("changes", [{"sampling_rate": 0}, {"hop_length": 0}, {"hop_length": "80"}, {"unknown": 1}])
def test_a_record_that_no_encoder_writes_is_refused(changes: dict[str, object], tmp_path: Path) -> None:
    record().write(tmp_path)
    content = json.loads((tmp_path / "latents.json").read_text())
    (tmp_path / "latents.json").write_text(json.dumps(content | changes))
    with pytest.raises(ValueError, match=rf"latents\.json cannot be read: .*{next(iter(changes))}.*Encode the data"):
        read_record(tmp_path)


def test_columns_of_the_same_name_are_refused() -> None:
    with pytest.raises(ValueError, match=r"columns \['mean', 'path'\].*rename"):
        latent_features(4, {"path": datasets.Value("string"), "mean": datasets.Value("float32"), "text": None})


def test_datasets_loads_the_rows_of_each_folder_whatever_its_name(tmp_path: Path) -> None:
    for lengths in ([5, 6], [7, 8, 9]):
        folder = write_latents(tmp_path / str(len(lengths)) / "latents", lengths)
        (folder / "notes.json").write_text("{}")
        assert datasets.load_dataset(str(folder), split="train")["frames"][:] == lengths
