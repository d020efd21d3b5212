"""The layers: who may import whom. Read off the imports themselves."""

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "src/hf_audio_vae"
EVALUATION_AND_LOSSES = {"audio", "modules.distributions"}
BELOW_TRAINING = {"audio", "modules", "runtime", "losses", "data", "evaluation", "latents", "tokens"}
BELOW_TRAINING |= {"discriminators", "models"}
ALLOWED = {
    "audio": set(),
    "modules": {"audio"},
    "runtime": {"audio", "modules"},
    "losses": EVALUATION_AND_LOSSES,
    "data": {"audio"},
    "evaluation": EVALUATION_AND_LOSSES,
    "latents": {"audio"},
    "tokens": {"audio"},
    "discriminators": {"audio", "modules"},
    "models": {"audio", "modules", "runtime"},
    "pipelines": {"audio", "models", "latents", "tokens"},
    "training": BELOW_TRAINING,
    "cli": BELOW_TRAINING | {"pipelines", "training"},
}
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


def test_the_walk_sees_the_arrows() -> None:
    arrows = {(path.relative_to(PACKAGE).parts[0], name.split(".")[0]) for path in FILES for name in imported(path)}
    assert {("models", "modules"), ("training", "losses"), ("cli", "models")} <= arrows


def test_no_file_has_a_name_that_says_nothing() -> None:
    empty_words = {"utils", "util", "helpers", "helper", "common", "base", "misc"}
    assert not [path for path in PACKAGE.rglob("*") if path.stem in empty_words]
