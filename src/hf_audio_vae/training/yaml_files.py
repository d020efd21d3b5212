"""YAML of recipes and of values on the command line, with errors in one line."""

from pathlib import Path
from typing import Any

import yaml


class _UniqueKeys(yaml.SafeLoader):
    """Rejects a key that a mapping has twice: YAML forbids it, but PyYAML uses the last value."""

    def compose_mapping_node(self, anchor: dict[Any, yaml.Node]) -> yaml.MappingNode:
        node = super().compose_mapping_node(anchor)
        lines: dict[tuple[str, str], int] = {}
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode):
                name, line = (key.tag, key.value), key.start_mark.line + 1
                if name in lines:
                    raise ValueError(f"the key {key.value!r} is in line {lines[name]} and again in line {line}")
                lines[name] = line
        return node


def read_options(path: Path) -> dict[str, Any]:
    """Read the options of a file.

    Raises:
        ValueError: The file is not YAML, has a key twice, or holds something else than options.
        OSError: The file cannot be read.
    """
    options = parse_yaml(path.read_bytes(), str(path))
    if options is None:
        return {}
    if not isinstance(options, dict):
        raise ValueError(
            f"{path} holds a {type(options).__name__}, not options; write lines of the form `name: value`."
        )
    return options


def parse_yaml(text: str | bytes, source: str) -> Any:
    """Parse YAML; raises a `ValueError` of one line that names the source."""
    try:
        yaml.compose(text, _UniqueKeys)
        return yaml.safe_load(text)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise ValueError(f"{source} is not YAML: {' '.join(str(error).split())}") from None
