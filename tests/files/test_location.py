import re
from collections.abc import Callable
from functools import partial
from pathlib import Path

import datasets
import huggingface_hub
import pytest
from transformers import AutoModelForCausalLM

from hf_audio_vae import AudioLatentDiffusionPipeline
from hf_audio_vae.data import CodesRecord, load_audio_stream, load_latent_stream, read_record
from hf_audio_vae.discriminators.ensemble import load_discriminators
from hf_audio_vae.files.loading import load_checked
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


LOADERS: dict[str, tuple[Callable[[str], object], str]] = {
    "autoencoder": (load_autoencoder, "name an existing folder or a Hub id"),
    "pipeline": (AudioLatentDiffusionPipeline.from_pretrained, "name an existing folder or a Hub id"),
    "tokens": (load_tokens, "name an existing folder or a Hub id"),
    "discriminators": (load_discriminators, "name an existing folder or a Hub id"),
    "language model": (partial(load_checked, AutoModelForCausalLM), "name an existing folder or a Hub id"),
    "audio": (load_audio_stream, "name an existing folder or a Hub id"),
    "rows of latents": (partial(load_latent_stream, split="train"), "name an existing folder or a Hub id"),
    "latents": (read_record, "write latents with `hf-audio-vae encode-dataset`"),
    "codes": (CodesRecord.read, "write codes with `hf-audio-vae encode-dataset`, or those of scores with `training/c"),
}


@pytest.mark.parametrize("kind", LOADERS)
def test_a_path_that_leads_nowhere_is_not_taken_for_a_hub_id(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    load, remedy = LOADERS[kind]
    for name in ("outputs/run/nowhere", "/nowhere", "./nowhere", "../nowhere", "~/nowhere"):
        with monkeypatch.context() as patch:
            patch.setattr("socket.socket.connect", lambda *_: pytest.fail("the Hub was asked"))
            with pytest.raises(OSError, match=f"there is no folder {re.escape(name)}; {re.escape(remedy)}"):
                load(name)


@pytest.mark.parametrize("kind", LOADERS)
def test_a_name_that_is_no_folder_and_not_on_the_hub_is_told_to_be_neither(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    load, remedy = LOADERS[kind]
    for constants in (huggingface_hub.constants, datasets.config):
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(OSError) as caught:
        load("outputs/nowhere")
    message = str(caught.value)
    assert f"there is no folder outputs/nowhere here, nor can it be loaded from the Hub; {remedy}" in message
    assert "\n" not in message


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
