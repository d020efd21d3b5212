from collections.abc import Callable
from pathlib import Path

import pytest

from hf_audio_vae import AudioLatentDiffusionPipeline
from hf_audio_vae.data import CodesRecord, read_record
from hf_audio_vae.discriminators.ensemble import load_discriminators
from hf_audio_vae.files.location import DEFAULT_MODEL, PRETRAINED, located, model_location
from hf_audio_vae.models import load_autoencoder
from hf_audio_vae.tokens import load_tokens


@pytest.mark.parametrize(
    "load",
    [
        lambda folder, revision: load_autoencoder(folder, revision=revision),
        lambda folder, revision: AudioLatentDiffusionPipeline.from_pretrained(folder, revision=revision),
        lambda folder, revision: load_tokens(folder, revision=revision),
        load_discriminators,
        read_record,
        CodesRecord.read,
    ],
    ids=["autoencoder", "pipeline", "tokens", "discriminators", "latents", "codes"],
)
def test_a_folder_has_no_revisions(load: Callable[[Path, str], object], tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="`revision` 'abc' has no effect on the local folder .*; leave it out"):
        load(tmp_path, "abc")


def test_a_model_of_this_package_is_found_by_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert model_location(DEFAULT_MODEL) == str(PRETRAINED / DEFAULT_MODEL)
    assert Path(located(DEFAULT_MODEL, {})[0], "config.json").is_file()
    with pytest.raises(ValueError, match="`revision` 'abc' has no effect"):
        load_autoencoder(DEFAULT_MODEL, revision="abc")
    (tmp_path / DEFAULT_MODEL).mkdir()
    assert model_location(DEFAULT_MODEL) == str(PRETRAINED / DEFAULT_MODEL), "a folder without a model"


@pytest.mark.parametrize("index", ["config.json", "model_index.json"])
def test_a_folder_with_the_name_of_a_model_of_this_package_is_ambiguous(
    index: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / DEFAULT_MODEL).mkdir()
    (tmp_path / DEFAULT_MODEL / index).write_text("{}")
    with pytest.raises(ValueError, match=f"name the folder as {tmp_path}/{DEFAULT_MODEL}, or work in another folder"):
        model_location(DEFAULT_MODEL)
    for name in (f"./{DEFAULT_MODEL}", str(tmp_path / DEFAULT_MODEL)):
        assert model_location(name) == name


@pytest.mark.parametrize("name", ["", ".", "..", "../pretrained", f"{DEFAULT_MODEL}/..", "/", "someone/model"])
def test_other_names_are_no_models_of_this_package(name: str) -> None:
    assert model_location(name) == name
