"""The site of the documentation: it describes all public names, commands and keys of recipes, and checks its links."""

import doctest
import importlib
import logging
from pathlib import Path

import pytest

from documentation.public_names import PAGES, names_on
from documentation.reference import CONFIGS, commands_page, recipes_page, type_name
from hf_audio_vae import public
from hf_audio_vae.cli.main import COMMANDS, TRAINING
from hf_audio_vae.cli.training_scripts import scripts_folder

REPO = Path(__file__).parents[1]
MODULES = sorted({module for _, modules in PAGES.values() for module in modules})
OTHERS = {"ModelMixin", "__version__"}  # a class of diffusers, and a text


@pytest.fixture(scope="module")
def described() -> set[str]:
    return {name for page in PAGES for name in names_on(page)}


def test_every_public_name_of_the_package_is_on_a_page(described: set[str]) -> None:
    assert set(public.__all__) - OTHERS <= {name.rpartition(".")[2] for name in described}


@pytest.mark.parametrize("module", MODULES)
def test_every_public_name_of_a_module_is_on_a_page_and_exists(module: str, described: set[str]) -> None:
    here = {name.rpartition(".")[2] for name in described if name.rpartition(".")[0] == module}
    imported = importlib.import_module(module)
    assert here == set(getattr(imported, "__all__", here))
    assert all(hasattr(imported, name) for name in here)


def test_the_pages_are_in_the_navigation() -> None:
    listed = (REPO / "mkdocs.yml").read_text()
    assert [page for page in PAGES if f"- reference/{page}.md\n" not in listed] == []


def test_commands_have_sections_with_their_options() -> None:
    sections = dict(section.split("\n", 1) for section in commands_page().split("\n## ")[1:])
    assert sections.keys() == COMMANDS.keys() | TRAINING.keys()
    assert "| `--torch_dtype` | dtype of the weights; default float32; one of bfloat16," in sections["encode"]
    assert (
        "| `--dataset_name` | Hub id, or a folder of audio, parquet or tar files | required |" in sections["inspect"]
    )


def test_recipes_and_keys_are_listed() -> None:
    page = recipes_page()
    assert all(f"\n## {verb}\n" in page for verb in CONFIGS)
    listed = {path.stem for path in scripts_folder().glob("recipes/*.yaml")}
    assert [name for name in listed if f"| `{name}` |" not in page] == []
    assert "| `gradient_checkpointing` | true or false | `false` |" in page
    assert "| `adversarial.loss` | text | `hinge` |" in page
    assert "| `losses.multi_scale_mel.n_mels` | list of int | `(5, 10, 20, 40, 80, 160, 320)` |" in page


@pytest.mark.parametrize(
    ("annotation", "words"),
    [(float | None, "float, null"), (dict[str, int], "section"), (str | list[str] | None, "text, list of text, null")],
)
def test_types_are_in_words(annotation: object, words: str) -> None:
    assert type_name(annotation) == words


@pytest.mark.parametrize(
    ("name", "library"), [("reference", "pydantic"), ("hook", "material"), ("docstrings", "griffe")]
)
def test_the_examples_run(name: str, library: str) -> None:
    pytest.importorskip(library)
    failed, attempted = doctest.testmod(importlib.import_module(f"documentation.{name}"))
    assert attempted
    assert not failed


@pytest.mark.parametrize(
    ("text", "warnings"), [("[a](other.md#part)", 0), ("[a](missing.md)", 1), ("[a](other.md#missing)", 1)]
)
def test_broken_links_are_warnings(text: str, warnings: int, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    pytest.importorskip("material")
    from mkdocs.commands.build import build
    from mkdocs.config import load_config

    (tmp_path / "docs").mkdir()
    (tmp_path / "docs/index.md").write_text(text)
    (tmp_path / "docs/other.md").write_text("## Part")
    folders = {"docs_dir": str(tmp_path / "docs"), "site_dir": str(tmp_path / "site")}
    config = load_config(str(REPO / "mkdocs.yml"), **folders, nav=["index.md", "other.md"], hooks=[], plugins=[])
    with caplog.at_level(logging.WARNING):
        build(config)
    assert len(caplog.records) == warnings
