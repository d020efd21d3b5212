"""The blocks of `docs/latents.md` run."""

import re
from pathlib import Path

import pytest
import yaml

from hf_audio_vae.cli import arithmetic
from hf_audio_vae.cli.arguments.arithmetic import add_arguments
from hf_audio_vae.cli.main import main
from hf_audio_vae.cli.parser import Parser
from hf_audio_vae.latents import PROJECTIONS
from hf_audio_vae.latents.interpolation import METHODS
from hf_audio_vae.latents.morphing import ALIGNMENTS
from hf_audio_vae.training.autoencoder.augmentation import AUGMENTATIONS
from hf_audio_vae.training.autoencoder.options import LatentAugmentationOptions

REPO = Path(__file__).parents[2]
TEXT = (REPO / "docs/latents.md").read_text()


def section(title: str) -> str:
    return TEXT.partition(f"## {title}\n")[2].partition("\n## ")[0]


def blocks(title: str, language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", section(title), flags=re.DOTALL)


def test_the_python_of_interpolation_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(REPO)
    (block,) = blocks("Interpolation", "python")
    names: dict = {}
    exec(block, names)
    *_, moving = names["sounds"]
    assert moving.shape[:2] == (1, 1)
    assert len(names["sounds"]) == 7


def test_the_commands_of_interpolation_run(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(REPO)
    (block,) = blocks("Interpolation", "sh")
    for command in block.splitlines():
        _, *arguments = command.replace("outputs/", f"{tmp_path}/").split()
        assert main(arguments) == 0
    assert [len(list((tmp_path / name).glob("*.wav"))) for name in ("path", "moving")] == [9, 1]


def test_every_method_and_alignment_has_a_row() -> None:
    rows = re.findall(r"^\| `(\w+)`", section("Interpolation"), flags=re.MULTILINE)
    assert rows == [*METHODS, *ALIGNMENTS]


def test_the_python_of_arithmetic_runs() -> None:
    (block,) = blocks("Arithmetic", "python")
    names: dict = {}
    exec(block, names)
    assert names["louder"].abs().max() > 1


def test_the_python_of_disentanglement_gives_the_scores_of_the_guide(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(REPO)
    (block,) = blocks("Disentanglement", "python")
    names: dict = {}
    exec(block, names)
    assert names["latents"].shape == (35, 32)
    assert names["gap"]["kind"] == pytest.approx(0.03, abs=0.005)
    assert names["disentanglement"] == pytest.approx(0.15, abs=0.02)


def test_the_first_command_of_arithmetic_runs(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(REPO)
    (block,) = blocks("Arithmetic", "sh")
    command, *others = block.replace("\\\n", "").replace("outputs/", f"{tmp_path}/").splitlines()
    assert main(command.split()[1:]) == 0
    assert sorted(path.name for path in (tmp_path / "arithmetic").iterdir()) == [
        "flute_C5+0.5.wav",
        "flute_C5+1.wav",
    ]
    parser = Parser()
    add_arguments(parser)
    for other in others:
        arithmetic.check(parser.parse_args(other.replace("velocity.", f"{tmp_path}/velocity.").split()[2:]))


def test_the_command_of_maps_runs_and_prints_the_shares_of_the_guide(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(REPO)
    (block,) = blocks("Maps", "sh")
    assert main(block.replace("outputs/", f"{tmp_path}/").split()[1:]) == 0
    (shares,) = re.findall(r"for ([\d.]+)% of the sounds, by chance for ([\d.]+)%", capsys.readouterr().out)
    assert re.findall(r"these are ([\d.]+) %, and ([\d.]+) % would be due to chance", section("Maps")) == [shares]
    assert {path.name for path in (tmp_path / "map").iterdir()} == {"map.html", "map.json", "map.png"}


def test_the_python_of_maps_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(REPO)
    (block,) = blocks("Maps", "python")
    names: dict = {}
    exec(block, names)
    assert names["points"].shape == (4, 2) and names["sound"].isfinite().all()
    measured = names["axes"].measure(names["moved"]) - names["axes"].measure(names["clips"][0])
    assert float(measured[0, 0]) == pytest.approx(-2, abs=1e-4)


def test_every_projection_has_a_row() -> None:
    assert re.findall(r"^\| `(\w+)`", section("Maps"), flags=re.MULTILINE) == list(PROJECTIONS)


def test_the_section_of_the_recipe_is_valid() -> None:
    (block,) = blocks("Linearity", "yaml")
    options = LatentAugmentationOptions.model_validate(yaml.safe_load(block)["latent_augmentation"])
    assert len(options.build(256).parts) == len(AUGMENTATIONS)
