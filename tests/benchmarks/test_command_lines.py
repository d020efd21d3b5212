"""Every script of benchmarks/: wrong input is one line and exit code 2."""

import argparse
import importlib
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

import pytest

FOLDER = Path(__file__).parents[2] / "benchmarks"
SCRIPTS = sorted(path.stem for path in FOLDER.glob("*.py") if "__main__" in path.read_text())
NO_FILE = "/dev/null/file"  # can be neither read nor created


@pytest.fixture(autouse=True)
def script_path(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(FOLDER))  # as for `python benchmarks/NAME.py`
    monkeypatch.setattr(os, "environ", os.environ.copy())


def main_of(name: str) -> Callable[[list[str]], Any]:
    return importlib.import_module(name).main


def options_of(main: Callable[[list[str]], Any], monkeypatch: pytest.MonkeyPatch) -> list[argparse.Action]:
    """The options that a script declares."""

    class DeclaredError(Exception):
        pass

    def declared(parser: argparse.ArgumentParser, *_: object) -> NoReturn:
        raise DeclaredError(parser)

    with monkeypatch.context() as patch:
        patch.setattr(argparse.ArgumentParser, "parse_args", declared)
        with pytest.raises(DeclaredError) as caught:
            main([])
    return caught.value.args[0]._actions


def wrong_values(option: argparse.Action) -> list[str]:
    """Values that an option refuses, by its type."""
    if option.choices:
        return ["foo"]
    if option.dest == "max_seconds":  # of the commands of this package, which check it later
        return []
    kind = getattr(option.type, "__name__", "")
    assert kind not in {"int", "float", "Path"}, f"{option.dest}: use a type of command_line.py, which has bounds"
    numbers = {"count": ["0", "-1", "1.5", "foo"], "whole": ["-1", "foo"], "amount": ["0", "-1", "nan", "inf", "foo"]}
    paths = ("input_file", "input_folder", "splits_folder", "output_path", "program")
    return numbers.get(kind, []) + [NO_FILE] * (kind in paths) + ["1,2", "1,0,2"] * (kind == "shape_of")


@pytest.mark.parametrize("name", SCRIPTS)
def test_help_is_printed_and_every_wrong_value_is_one_line_and_code_2(
    name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    main = main_of(name)
    with pytest.raises(SystemExit, match="^0$"):
        main(["--help"])
    assert sys.modules[name].__doc__.splitlines()[0] in capsys.readouterr().out
    wrong = []
    for option in options_of(main, monkeypatch):
        wrong += [(option.option_strings[0], value) for value in wrong_values(option) if option.option_strings]
    for option, value in [*wrong, ("--no_such_option", "foo")]:
        with pytest.raises(SystemExit, match="^2$"):
            main([option, value])
        (line,) = capsys.readouterr().err.splitlines()
        assert option in line or "the following arguments are required" in line
        assert (option, value) not in wrong or value.split(",")[0] in line
    assert f"main_or_exit({main.__name__})" in (FOLDER / f"{name}.py").read_text()


NOWHERE = {
    "beside_opus": [["--dataset_name", "/nope"], ["--dataset_name", "data/train", "--model", "/nope"]]
    + [["--dataset_name", "data/held_out", "--max_seconds", value] for value in ("0", "-1", "nan")],
    "families": [["--dataset_name", "/nope"]],
    "fused_precision": [["--model", "/nope"], ["--model", "/nope", "--sounds", "tests"]],
    "mid_side": [[], ["--dataset_name", "/nope"], ["--dataset_name", "data/train"]],
    "note_attributes": [["--notes", "data"]],
    "morphing": [["--sounds", "tests"], ["--sounds", "data/held_out", "--model", "/nope"]],
    "pitch_swap": [["--model", "/nope", "--notes", "data/train"]],
    "step_shares": [["--config", "pyproject.toml"], ["--config", "training/recipes/token-prior-demo.yaml"]],
}


@pytest.mark.parametrize("name", SCRIPTS)
def test_what_does_not_exist_is_one_line_and_code_2(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    main = main_of(name)
    run_script = sys.modules["command_line"].main_or_exit
    monkeypatch.setitem(sys.modules, "librosa", sys)  # `pitch_swap` needs it for other input
    for arguments in NOWHERE.get(name, []):
        if name in ("families", "mid_side"):
            arguments = [*arguments, "--output_dir", str(tmp_path / "out")]
        monkeypatch.setattr(sys, "argv", [name, *arguments])
        with pytest.raises(SystemExit, match="^2$"):
            run_script(main)
        *lines, last = capsys.readouterr().err.splitlines()
        assert "error: " in last, arguments
        assert all("audio files" in line for line in lines), "the line that describes the data may come first"
