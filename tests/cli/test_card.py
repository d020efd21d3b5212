"""The card of a model, with figures and sounds."""

import json
import re
import shutil
from pathlib import Path

import pytest
import torch
import yaml
from diffusers import AutoencoderOobleck
from huggingface_hub import ModelCard

from hf_audio_vae import HierarchicalVQVAE, HierarchicalVQVAEConfig
from hf_audio_vae.audio import read_audio, write_audio
from hf_audio_vae.cli.main import main
from hf_audio_vae.models import load_autoencoder
from hf_audio_vae.models.fingerprint import model_fingerprint
from tests.cli.files import RATE, noise


@pytest.fixture
def folder(model: str, tmp_path: Path) -> Path:
    """A copy of the model, to write into."""
    return Path(shutil.copytree(model, tmp_path / "my-vae"))


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    write_audio(tmp_path / "a clip.wav", noise(RATE // 2), RATE)
    return tmp_path / "a clip.wav"


def results(folder: Path, identity: str, dataset: object = "checksum") -> Path:
    """A results.json as `evaluate` writes it."""
    path = folder.parent / "results.json"
    settings = {
        "systems": {"vae": identity},
        "dataset": dataset,
        "dataset_config_name": None,
        "dataset_split": "train",
        "max_seconds": 30.0,
        "sampling_rate": RATE,
        "audio_channels": 1,
    }
    means = {"vae": {"si_sdr_db": {"mean": 1.2345, "low": 1.0, "high": 1.5}}}
    content = {"settings": settings, "skipped": {}, "dataset_name": "sounds", "findings": {}, "means": means}
    content |= {"items": [{"name": "1", "seconds": 2.0, "metrics": {}}], "differences": {}}
    content |= {"distances": {"vae": {"FAD log_mel": 7.5}}, "properties": {"vae": {"effective_rank": 1.5}}}
    path.write_text(json.dumps(content))
    return path


def identity(folder: Path) -> str:
    return model_fingerprint(load_autoencoder(str(folder)))


def card_of(folder: Path) -> ModelCard:
    return ModelCard.load(folder / "README.md")


def refusal(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    assert main(arguments) == 2
    return capsys.readouterr().err


def test_the_examples_of_a_card_run(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert main(["card", str(folder)]) == 0
    (code,) = re.findall(r"```python\n(.*?)```", card_of(folder).text, flags=re.DOTALL)
    monkeypatch.chdir(folder.parent)  # the card calls the model by its folder's name
    names: dict[str, torch.Tensor] = {}
    exec(code, names)
    assert names["reconstruction"].shape == names["waveform"].shape


@pytest.mark.parametrize("kind", ["levels", "published"])
def test_the_examples_of_other_classes_run(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if kind == "levels":
        model = HierarchicalVQVAE(HierarchicalVQVAEConfig(width=2, hidden_size=4, codebook_size=8))
    else:
        model = AutoencoderOobleck(4, [2, 4], [1, 2], 4, 2, 1, 8000)
    model.save_pretrained(tmp_path / "it")
    assert main(["card", str(tmp_path / "it")]) == 0
    card = card_of(tmp_path / "it")
    assert card.data.library_name == ("hf_audio_vae" if kind == "levels" else "diffusers")
    monkeypatch.chdir(tmp_path)
    for code in re.findall(r"```python\n(.*?)```", card.text, flags=re.DOTALL):
        names: dict[str, object] = {}
        exec(code, names)
    assert names["reconstruction"].shape == names["waveform"].shape
    expected = HierarchicalVQVAE if kind == "levels" else AutoencoderOobleck
    assert 'from_pretrained("it")' in card.text
    assert "`it` is the path of this folder, or the id of its repository after a push" in card.text
    assert f"{expected.__name__}.from_pretrained" in card.text


def test_the_figures_of_results_are_in_the_table_and_in_the_metadata(folder: Path) -> None:
    file = results(folder, identity(folder))
    assert main(["card", str(folder), "--results", str(file), "--license", "mit", "--datasets", "a/b", "c/d"]) == 0
    card = card_of(folder)
    assert re.search(r"\| SI-SDR \(dB, ↑\) +\| +1\.234 \| +1\.000 to 1\.500 \|", card.text)
    assert re.search(r"\| effective rank +\| +1\.500 \|", card.text)
    assert "Measured on `sounds`: 1 items, 2.0 s" in card.text
    assert {r.metric_type: r.metric_value for r in card.data.eval_results} == {"si_sdr_db": 1.2345, "FAD log_mel": 7.5}
    assert (card.data.license, card.data.datasets) == ("mit", ["a/b", "c/d"])
    assert not (folder / ".eval_results").exists()


def test_figures_of_a_data_set_of_the_hub_are_also_in_the_folder_that_the_hub_reads(folder: Path) -> None:
    file = results(folder, identity(folder), ["someone/sounds", None])
    assert main(["card", str(folder), "--results", str(file)]) == 0
    entries = yaml.safe_load((folder / ".eval_results/someone--sounds.yaml").read_text())
    assert {entry["dataset"]["task_id"]: entry["value"] for entry in entries} == {
        "si_sdr_db": 1.2345,
        "FAD log_mel": 7.5,
    }
    assert main(["card", str(folder), "--results", str(file)]) == 0, "they are replaced with their card"


def test_figures_of_an_earlier_card_are_removed_with_it(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = results(folder, identity(folder), ["someone/sounds", None])
    assert main(["card", str(folder), "--results", str(file)]) == 0
    (folder / ".eval_results/of-the-user.yaml").write_text("[]")
    capsys.readouterr()
    assert main(["card", str(folder)]) == 0
    assert [path.name for path in (folder / ".eval_results").iterdir()] == ["of-the-user.yaml"]
    assert "someone--sounds.yaml are of the earlier card and are removed" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("recipe", "metrics"),
    [("{}", "[]"), ("GOOD", "[]"), ("GOOD", "{}"), ("[1]", "GOOD"), (": : :", "GOOD"), ("", "GOOD"), ("\xff", "GOOD")],
)
def test_a_damaged_record_of_a_training_is_named(
    recipe: str, metrics: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    good = "validation_dataset_name: data\nvalidation_seconds: 1.0\nmax_validation_samples: 2\n"
    (folder / "recipe.yaml").write_bytes((good if recipe == "GOOD" else recipe).encode("latin-1"))
    (folder / "metrics.json").write_text('[{"si_sdr_db": 1.0}]' if metrics == "GOOD" else metrics)
    damaged = folder / ("metrics.json" if recipe == "GOOD" else "recipe.yaml")
    message = refusal(["card", str(folder)], capsys)
    assert f"{damaged} is not one of a training (" in message
    assert "restore it, or move" in message


def test_figures_of_other_weights_are_refused(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = results(folder, "of-another")
    message = refusal(["card", str(folder), "--results", str(file)], capsys)
    assert f"--results {file}: it has figures of vae, but none of a model with these weights" in message
    assert not (folder / "README.md").exists()


def test_the_sounds_of_a_card_are_the_clip_and_its_reconstruction(folder: Path, clip: Path) -> None:
    assert main(["card", str(folder), "--files", str(clip)]) == 0
    links = re.findall(r"\]\((\S+?)\)", card_of(folder).text)
    names = ["a clip.original.wav", "a clip.reconstruction.wav", "a clip.png"]
    assert [link.replace("%20", " ") for link in links] == [f"samples/{name}" for name in names]
    original, reconstruction = (read_audio(folder / "samples" / name)[0] for name in names[:2])
    torch.testing.assert_close(original, read_audio(clip)[0])
    with torch.no_grad():
        expected = load_autoencoder(str(folder))(original[None]).sample[0]
    torch.testing.assert_close(reconstruction, expected, rtol=0, atol=1e-5)
    assert sorted(path.name for path in folder.rglob("*") if path.is_file()) == sorted(
        ["README.md", "config.json", "diffusion_pytorch_model.safetensors", *names]
    )


def test_sounds_of_other_weights_leave_the_card(folder: Path, clip: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["card", str(folder), "--files", str(clip)]) == 0
    model = load_autoencoder(str(folder))
    with torch.no_grad():
        next(model.parameters()).mul_(1.01)
    model.save_pretrained(folder)
    assert main(["card", str(folder)]) == 0
    assert "the sounds of the earlier card are of other weights" in capsys.readouterr().err
    assert "## Samples" not in card_of(folder).text
    assert not list((folder / "samples").iterdir())


def test_a_new_card_keeps_what_is_not_given_again(folder: Path, clip: Path) -> None:
    given = ["--license", "mit", "--base_model", "a/base", "--hub_model_id", "someone/vae", "--files", str(clip)]
    assert main(["card", str(folder), *given]) == 0
    first = (folder / "README.md").read_text()
    assert "# someone/vae" in first
    assert main(["card", str(folder)]) == 0
    assert (folder / "README.md").read_text() == first
    assert main(["card", str(folder), *given]) == 0, "sounds are replaced with their card"
    other = clip.with_name("another.wav")
    shutil.copy(clip, other)
    assert main(["card", str(folder), "--files", str(other), "--license", "apache-2.0"]) == 0
    card = card_of(folder)
    assert (card.data.license, card.data.base_model) == ("apache-2.0", "a/base")
    assert {path.name.split(".")[0] for path in (folder / "samples").iterdir()} == {"another"}


def test_a_card_names_no_path_of_the_machine(folder: Path, clip: Path) -> None:
    recipe = {"validation_dataset_name": "/home/someone/x", "validation_seconds": 4, "max_validation_samples": 9}
    (folder / "recipe.yaml").write_text(yaml.safe_dump(recipe))
    (folder / "metrics.json").write_text(json.dumps([{"step": 0, "kl": 1.0}, {"step": 7, "kl": 2.0}]))
    assert main(["card", str(folder), "--files", str(clip)]) == 0
    text = (folder / "README.md").read_text()
    assert "(recipe.yaml)" in text
    assert re.search(r"\| KL \(nats a frame\) +\| +2\.000 \|", text)
    assert "/home" not in text
    assert str(folder.parent) not in text


@pytest.mark.parametrize("content", [b"", b"RIFF", b"{}", b"---\ntags: [mine]\n---\n# Notes\n"])
def test_a_card_replaces_no_other_file(content: bytes, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "README.md").write_bytes(content)
    assert "exists and is not a card of this package" in refusal(["card", str(folder)], capsys)
    assert (folder / "README.md").read_bytes() == content
    (folder / "README.md").unlink()
    (folder / "README.md").symlink_to("nowhere")
    assert "exists and is not a card of this package" in refusal(["card", str(folder)], capsys)


def test_the_sounds_of_a_card_replace_no_other_files(
    folder: Path, clip: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "samples").mkdir()
    (folder / "samples/a clip.png").write_bytes(b"mine")
    assert main(["card", str(folder)]) == 0
    message = refusal(["card", str(folder), "--files", str(clip)], capsys)
    assert "samples/a clip.png exists and is not of a card of this package" in message
    assert (folder / "samples/a clip.png").read_bytes() == b"mine"


def test_a_card_that_fails_leaves_the_earlier_one(folder: Path, clip: Path) -> None:
    assert main(["card", str(folder), "--files", str(clip)]) == 0
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    broken = clip.with_name("broken.wav")
    broken.write_bytes(b"RIFF")
    assert main(["card", str(folder), "--files", str(clip), str(broken)]) == 2
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["stft-vae-24khz"], "stft-vae-24khz is no folder; name a folder for the card with --output_dir"),
        (["MODEL", "--datasets", "data/train"], "--datasets data/train is a folder"),
        (["MODEL", "--base_model", "mine"], "--base_model mine is a folder, or no `owner/name`"),
        (["MODEL", "--license", "Apache License"], "--license Apache License is no identifier of the Hub"),
        (["MODEL", "--hub_model_id", "my model!"], "--hub_model_id my model! is no id of the Hub; give `owner/name`"),
        (["MODEL", "--files", "CLIP", "CLIP.flac"], "two of --files have the same name"),
        (["MODEL", "--results", "/nowhere.json"], "/nowhere.json"),
        (["MODEL", "--results", "CLIP"], "--results"),
        (["MODEL", "--output_dir", "/proc/self/card"], "cannot be written"),
    ],
)
def test_what_cannot_be_done_is_one_line(
    arguments: list[str],
    message: str,
    folder: Path,
    clip: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(folder.parent)
    (folder.parent / "data/train").mkdir(parents=True)
    places = {"MODEL": str(folder), "CLIP": str(clip), "CLIP.flac": str(clip.with_suffix(".flac"))}
    errors = refusal(["card", *(places.get(argument, argument) for argument in arguments)], capsys)
    lines = [line for line in errors.splitlines() if line.startswith("hf-audio-vae ")]
    assert len(lines) == 1
    assert message in lines[0]
