"""A parser that rejects an option that is given twice; `argparse` would use the last value."""

import argparse
import re
from collections.abc import Sequence
from functools import partial
from typing import Any, NoReturn


class _Once(argparse.Action):
    """Store a value, or `const` for a flag."""

    given = False

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: str | Sequence[Any] | None,
        option_string: str | None = None,
    ) -> None:
        if self.given:
            raise ValueError(f"{self.option_strings[0]} is given twice; give it once.")
        self.given = bool(self.option_strings)
        setattr(namespace, self.dest, self.const if self.nargs == 0 else values)


TEXTS = ("--prompt", "--class_label")  # values that no file or name is made of


class Parser(argparse.ArgumentParser):
    """A parser for one use whose options may be given once, and which names them in messages.

    Example:
        >>> parser = Parser()
        >>> _ = parser.add_argument("--seed", type=int)
        >>> parser.parse_args(["--seed", "1", "--seed", "2"])
        Traceback (most recent call last):
        ...
        ValueError: --seed is given twice; give it once.
    """

    def __init__(self, *arguments: Any, **options: Any) -> None:
        self.option_names: dict[str, str] = {}  # by the name of the argument
        super().__init__(*arguments, **options)
        for name in (None, "store"):
            self.register("action", name, _Once)
        self.register("action", "store_true", partial(_Once, nargs=0, const=True, default=False))

    def add_argument(self, *names: Any, **options: Any) -> argparse.Action:
        """Declare an argument."""
        action = super().add_argument(*names, **options)
        if action.option_strings:
            self.option_names[action.dest] = action.option_strings[-1]
        return action

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """Parse arguments; raises `ValueError` if one is empty, since an empty path is the working directory."""
        option = "an argument"
        for argument in args or ():
            name, equals, value = argument.partition("=")
            if argument.startswith("--"):
                option = name
            if option not in TEXTS and (not argument or (argument.startswith("--") and equals and not value)):
                raise ValueError(f"{option} is empty; give a value, or leave it out.")
        return super().parse_known_args(args, namespace)

    def error(self, message: str) -> NoReturn:
        """Exit with code 2 and one line; the usage of many options would hide it."""
        self.exit(2, f"{self.prog}: {message}; see {self.prog} --help\n")

    def name_options(self, message: str) -> str:
        """Name options where a message names arguments of Python: --variant instead of `variant` in backticks."""
        return re.sub(r"`(\w+)`", lambda match: self.option_names.get(match[1], match[0]), message)
