"""The layers: who may import whom. Read off the imports themselves."""

import ast
import re
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "src/hf_audio_vae"
TABLE = (Path(__file__).parents[1] / "docs/architecture.md").read_text().partition("\n## ")[0]
ROWS = re.findall(r"^\| `(\w+)` \| [^|]* \| ([^|]*) ?\|$", TABLE, flags=re.MULTILINE)
ALLOWED = {layer: set(re.findall(r"`([\w.]+)`", layers)) for layer, layers in ROWS}
FILES = sorted(path for path in PACKAGE.rglob("*.py") if path.parent != PACKAGE)


def imported(path: Path) -> set[str]:
    """Modules of this package that a file imports, without the package's name."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} imports relatively; name the package, so that arrows can be read"
            names.add(node.module or "")
    # The package itself imports everything: no layer may import it.
    return {name.removeprefix("hf_audio_vae.") for name in names if f"{name}.".startswith("hf_audio_vae.")}


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_follow_the_layers(path: Path) -> None:
    layer = path.relative_to(PACKAGE).parts[0]
    for name in imported(path):
        inside = name.split(".")[0] in {layer, "version"}  # whose number any layer may write into its files
        allowed = any(name == other or name.startswith(f"{other}.") for other in ALLOWED[layer])
        assert inside or allowed, f"{layer} may not import {name}"


def test_the_table_names_every_layer_and_has_no_circle() -> None:
    assert ALLOWED.keys() == {path.relative_to(PACKAGE).parts[0] for path in FILES}
    below: set[str] = set()
    for layer, layers in ALLOWED.items():  # each row imports from rows before it
        assert {name.split(".")[0] for name in layers} <= below, layer
        below.add(layer)


def test_the_walk_sees_the_arrows() -> None:
    arrows = {(path.relative_to(PACKAGE).parts[0], name.split(".")[0]) for path in FILES for name in imported(path)}
    assert {("models", "modules"), ("training", "losses"), ("cli", "models")} <= arrows


def test_no_file_has_a_name_that_says_nothing() -> None:
    empty_words = {"utils", "util", "helpers", "helper", "common", "base", "misc"}
    assert not [path for path in PACKAGE.rglob("*") if path.stem in empty_words]
