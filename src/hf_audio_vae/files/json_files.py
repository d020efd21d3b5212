import json
from pathlib import Path
from typing import Any


def read_json(path: Path) -> Any:
    """Return the content of a JSON file in UTF-8.

    Raises:
        ValueError: It is not JSON, or an object in it has a key twice, of which other readers take the last value.
        OSError: It cannot be opened.
    """
    return json.loads(path.read_text(encoding="utf-8"), object_pairs_hook=_unique)


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    names = [name for name, _ in pairs]
    if repeated := sorted({name for name in names if names.count(name) > 1}):
        raise ValueError(f"the key {', '.join(repeated)} is there twice; keep one")
    return dict(pairs)
