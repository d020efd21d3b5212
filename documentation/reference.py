"""Pages of the reference that are made from the parsers of the commands and from the classes of recipes."""

import importlib
import types
from argparse import SUPPRESS, Action
from collections.abc import Iterable
from typing import Annotated, Any, Literal, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from hf_audio_vae.cli.completion import CONFIGS
from hf_audio_vae.cli.main import COMMANDS, TRAINING
from hf_audio_vae.cli.parser import Parser
from hf_audio_vae.cli.training_scripts import describe, recipes
from hf_audio_vae.training.config import flat_fields


def commands_page() -> str:
    """Return the commands with their options."""
    text = "# Commands\n\n`hf-audio-vae COMMAND --help` prints the same.\n"
    for verb, summary in TRAINING.items():
        parser = Parser(prog=f"hf-audio-vae {verb}")
        describe(parser, verb)
        text += (
            f"\n## {verb}\n\n{_sentence(summary)} [Recipes and keys](recipes.md#{verb}).\n\n```\n{parser.usage}\n```\n"
        )
    for verb in COMMANDS:
        accepted = importlib.import_module(f"hf_audio_vae.cli.arguments.{verb}")
        parser = Parser(prog=f"hf-audio-vae {verb}")
        accepted.add_arguments(parser)
        rows = [_option_row(action) for action in parser._actions if action.dest != "help"]
        text += f"\n## {verb}\n\n{accepted.__doc__}\n"
        text += _table(("option", "meaning", "default"), rows)
    return text


def _option_row(action: Action) -> tuple[str, str, str]:
    names = ", ".join(f"`{name}`" for name in action.option_strings) or f"`{action.metavar or action.dest}`"
    choices = f"one of {', '.join(map(str, action.choices))}" if action.choices else ""
    meaning = (action.help or "").replace("%(default)s", str(action.default)).replace("%%", "%")
    default = "required" if action.required else _default(None if action.default == SUPPRESS else action.default)
    return names, "; ".join(filter(None, (meaning, choices))), default


def recipes_page() -> str:
    """Return the recipes of each command, and the keys of its recipes."""
    text = "# Recipes\n\nA recipe is a YAML file with these keys. An option of the command line overrides a key:\n"
    text += "`losses.waveform_l1` is `--losses.waveform_l1`. Keys of a section that is left out are not used.\n"
    for verb, config in CONFIGS.items():
        found = recipes(verb)
        text += f"\n## {verb}\n\n{_sentence(TRAINING[verb])}\n\n"
        text += _table(("recipe", "what it is for"), [(f"`{name}`", line) for name, line in found.items()])
        rows = [_key_row(name, field) for name, field in flat_fields(config)]
        text += _table(("key", "type", "default", "meaning"), rows)
    return text


def _key_row(name: str, field: FieldInfo) -> tuple[str, str, str, str]:
    value = None if field.is_required() else field.get_default(call_default_factory=True)
    default = "required" if field.is_required() else _default(value)
    return f"`{name}`", type_name(field.annotation), default, field.description or ""


def _default(value: object) -> str:
    if value is None or value == {} or isinstance(value, BaseModel):
        return ""
    return f"`{str(value).lower() if isinstance(value, bool) else value}`"


def type_name(annotation: Any) -> str:
    """Return a type in words: members of a union by commas, sections without their fields.

    Example:
        >>> type_name(int | None)
        'int, null'
        >>> type_name(tuple[int, ...])
        'list of int'
    """
    origin, inner = get_origin(annotation), [type_name(kind) for kind in get_args(annotation) if kind is not Ellipsis]
    if origin is Annotated:
        return inner[0]
    if origin is Literal:
        return " or ".join(f"`{value}`" for value in get_args(annotation))
    if isinstance(annotation, types.UnionType) or str(origin) == "typing.Union":
        return ", ".join(dict.fromkeys(inner))
    if origin in (tuple, list):
        return f"list of {inner[0]}"
    if origin is dict or annotation is dict:
        return "section"
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return "section"
    names = {"NoneType": "null", "bool": "true or false", "Path": "path", "str": "text"}
    return names.get(getattr(annotation, "__name__", ""), getattr(annotation, "__name__", str(annotation)))


def _sentence(summary: str) -> str:
    return f"{summary[0].upper()}{summary[1:]}."


def _table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    lines = [" | ".join(cell.replace("|", "\\|").replace("\n", " ") for cell in row) for row in rows]
    if not lines:
        return ""
    return "\n".join(f"| {line} |" for line in (" | ".join(head), " | ".join("---" for _ in head), *lines)) + "\n\n"
