"""Faults, the libraries that they are provoked on, and a library's answer in words."""

import importlib.util
import os
import re
import select
import signal
import sys
import tempfile
import types
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache, partial
from importlib import import_module
from pathlib import Path
from typing import Any

AUDIO = Path(__file__).parents[2] / "data/held_out"
# Progress, source lines below a warning, and what a library says about its own arguments.
NOISE = re.compile(
    r"^\s|^$|FutureWarning|DeprecationWarning|weight_norm|it/s\]|^[-=]+$|^USDT:|CPUAllocator|The 'format' parameter"
)
# The reader of audiocraft is imported without the rest, which needs torch 2.1.
SUBMODULES = {"audiocraft": "audiocraft.data.audio_dataset"}
Provoke = Callable[..., str]


@dataclass(frozen=True)
class Case:
    """A fault on one library.

    Args:
        group (`str`): Section of `docs/reliability.md`.
        fault (`str`): Name of the fault.
        peer (`str`): Import name of the library; after a space, a part of it.
        provoke (`Callable`): Empty folder -> what happens. An exception means that the fault was not provoked.
        quick (`bool`): The case takes seconds at most.
    """

    group: str
    fault: str
    peer: str
    provoke: Callable[[Path], str]
    quick: bool

    @property
    def library(self) -> str:
        """Import name of the library."""
        return self.peer.split()[0]


CASES: list[Case] = []


def fault(
    group: str, peers: Mapping[str, Any] | str, name: str = "", quick: bool = True
) -> Callable[[Provoke], Provoke]:
    """Register a function of a folder and of a value of `peers`. The name of the fault is the function's docstring."""

    def register(function: Provoke) -> Provoke:
        title = name or (function.__doc__ or "").rstrip(".")
        values = {peers: None} if isinstance(peers, str) else peers
        for peer, value in values.items():
            provoke = function if isinstance(peers, str) else partial(function, peer=value)
            CASES.append(Case(group, title, peer, provoke, quick))
        return function

    return register


@cache
def absence(library: str) -> str:
    """Return why a library cannot be imported, or an empty text."""
    parts = SUBMODULES.get(library, library).split(".")
    try:
        with _captured():
            for package in (".".join(parts[:end]) for end in range(1, len(parts))):
                _hollow(package)
            import_module(".".join(parts))
    except ModuleNotFoundError as error:
        return "not installed" if error.name == library else _described(error)
    except Exception as error:  # a compiled part that does not fit raises anything
        return _described(error)
    return ""


def attempt(act: Callable[[], Any], describe: Callable[[Any], str] = lambda _: "returns") -> str:
    """Return the result of `act` in words, after `silent` or what was printed; or its exception."""
    with _captured() as lines:
        try:
            result = act()
        except Exception as error:
            return f"error: {_described(error)}"
    said = next((_shortened(line) for line in lines if not NOISE.search(line)), "")
    return (f"says “{said}”: " if said else "silent: ") + describe(result)


def in_child(act: Callable[[], str], seconds: float = 5) -> str:
    """Return the text of `act` in a forked process, or that it hangs."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.write(writer, act().encode())
        finally:
            os._exit(0)
    os.close(writer)
    ready, _, _ = select.select([reader], [], [], seconds)
    text = os.read(reader, 10_000).decode() if ready else f"hangs (stopped after {seconds:g} s)"
    os.close(reader)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return text


def flip(path: Path, *places: float) -> None:
    """Invert the bytes at these shares of a file."""
    content = bytearray(path.read_bytes())
    for place in places or (0.5,):
        content[int(place * len(content))] ^= 0xFF
    path.write_bytes(content)


def cut(path: Path) -> None:
    """Keep the first half of a file."""
    os.truncate(path, path.stat().st_size // 2)


def _hollow(package: str) -> None:
    """Enter a package in the imported modules without running its `__init__`."""
    spec = importlib.util.find_spec(package)
    if spec is None or spec.submodule_search_locations is None:
        raise ModuleNotFoundError(name=package)
    sys.modules[package] = types.ModuleType(package)
    sys.modules[package].__path__ = list(spec.submodule_search_locations)


@contextmanager
def _captured() -> Iterator[list[str]]:
    """Collect the lines that are written to the descriptors 1 and 2, by libraries in C too."""
    lines: list[str] = []
    sys.stdout.flush()
    sys.stderr.flush()
    saved = os.dup(1), os.dup(2)
    with tempfile.TemporaryFile() as file, warnings.catch_warnings():
        warnings.simplefilter("always")
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
        try:
            yield lines
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            for number, copy in enumerate(saved, start=1):
                os.dup2(copy, number)
                os.close(copy)
            file.seek(0)
            lines += file.read().decode(errors="replace").splitlines()


def _described(error: BaseException) -> str:
    """Return class and first line of an exception, or of its cause if that is what failed."""
    error = error.__cause__ or error
    first = next((line for line in str(error).splitlines() if line.strip()), "")
    return _shortened(f"{type(error).__name__}: {first}".rstrip(": "))


def _shortened(line: str, length: int = 110) -> str:
    """Return a line without terminal codes and folders, and not longer than a cell."""
    line = re.sub(r"\x1b\[[0-9;]*m", "", line).strip().replace("|", "/")
    line = re.sub(rf"{re.escape(tempfile.gettempdir())}/[^\s'\"]*/|(/[\w.+-]+){{3,}}/", "…/", line)
    line = re.sub(r"…/tmp\w{8}", "…", line)
    return line if len(line) <= length else line[: length - 1] + "…"
