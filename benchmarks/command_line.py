"""The command line of a benchmark: typed options, and one line with exit code 2 for wrong input.

It imports nothing but the standard library: `peer_faults.py` also runs in environments without this package.
"""

import argparse
import math
import shutil
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NoReturn


class Parser(argparse.ArgumentParser):
    """A parser that prints an error in one line, without the usage.

    Args:
        description (`str`, *optional*): Description of the script, printed as it is by `--help`.
    """

    def __init__(self, description: str | None) -> None:
        super().__init__(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)

    def error(self, message: str) -> NoReturn:
        """Exit with code 2."""
        self.exit(2, f"{self.prog}: error: {' '.join(message.split())}\n")


def count(text: str) -> int:
    """Return a whole number of at least 1."""
    number = whole(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text} is less than 1; give a whole number of at least 1")
    return number


def whole(text: str) -> int:
    """Return a whole number of at least 0, such as a seed."""
    if not (text.isascii() and text.removeprefix("-").isdigit()) or int(text) < 0:
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number of at least 0")
    return int(text)


def amount(text: str) -> float:
    """Return a finite number above 0."""
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not 0 < number < math.inf:  # also refuses NaN
        raise argparse.ArgumentTypeError(f"{text!r} is no finite number above 0")
    return number


def input_file(text: str) -> Path:
    """Return the path of a file that exists."""
    if not Path(text).is_file():
        raise argparse.ArgumentTypeError(f"there is no file {text!r}")
    return Path(text)


def program(text: str) -> str:
    """Return the name or the path of a program that can be run."""
    if shutil.which(text) is None:
        raise argparse.ArgumentTypeError(f"there is no program {text!r}")
    return text


def input_folder(text: str) -> Path:
    """Return the path of a folder that exists."""
    if not Path(text).is_dir():
        raise argparse.ArgumentTypeError(f"there is no folder {text!r}")
    return Path(text)


def splits_folder(text: str) -> Path:
    """Return the path of a folder that has the folders `train` and `held_out`."""
    for split in ("train", "held_out"):
        input_folder(str(Path(text, split)))
    return Path(text)


def output_path(text: str) -> Path:
    """Return a path that can be created: no part of it is a file."""
    path = Path(text)
    existing = next((parent for parent in path.absolute().parents if parent.exists()), None)
    if existing is None or not existing.is_dir():
        raise argparse.ArgumentTypeError(f"{text!r} cannot be created, since {existing} is no folder")
    return path


def main_or_exit(main: Callable[[Sequence[str]], Any]) -> NoReturn:
    """Run a benchmark; a `ValueError` or an `OSError` is one line on stderr and exit code 2, Ctrl-C is 130."""
    try:
        sys.exit(main(sys.argv[1:]))
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        sys.exit(130)
    except (ValueError, OSError) as error:
        print(f"{Path(sys.argv[0]).name}: error: {' '.join(str(error).split())}", file=sys.stderr)
        sys.exit(2)
