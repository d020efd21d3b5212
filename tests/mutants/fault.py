"""A fault: a replacement of a text that occurs once in a file, with the tests that have to find it."""

from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
PACKAGE = "src/hf_audio_vae"


@dataclass(frozen=True, init=False)
class Fault:
    """A fault in one file.

    Args:
        path (`str`): File in the package.
        text (`str`): Text to replace; occurs once in the file.
        replacement (`str`): The faulty text.
        tests (`str`): Files or ids of tests in `tests/`; by default, the file that mirrors `path`.
    """

    path: str
    text: str
    replacement: str
    tests: tuple[str, ...]

    def __init__(self, path: str, text: str, replacement: str, *tests: str) -> None:
        folder, _, name = path.rpartition("/")
        mirror = f"{folder}/test_{name}"
        for name, value in {"path": path, "text": text, "replacement": replacement}.items():
            object.__setattr__(self, name, value)
        object.__setattr__(self, "tests", tests or (mirror,))

    def __str__(self) -> str:
        return f"{self.path}\n  {self.text!r}\n  -> {self.replacement!r}\n  tests: {', '.join(self.tests)}"

    @property
    def package(self) -> str:
        """Package of the file."""
        return self.path.partition("/")[0]

    def planted(self, source: str) -> str:
        """Return the source with the fault."""
        return source.replace(self.text, self.replacement)

    def problem(self) -> str | None:
        """Return why the fault cannot be planted, if so."""
        source = ROOT / PACKAGE / self.path
        count = source.read_text().count(self.text) if source.is_file() else 0
        if count != 1:
            return f"{self.path} has {self.text!r} {count} times; bring the fault up to date."
        missing = [test for test in self.tests if not (ROOT / "tests" / test.partition("::")[0]).is_file()]
        return f"{self.path}: there are no tests {', '.join(missing)}." if missing else None
