"""The location of a model or a data set: a folder or a Hub id, a subfolder and a revision."""

from pathlib import Path
from typing import Any


def check_revision(name: str | Path, revision: str | None) -> None:
    """Raise `ValueError` if a revision is given for a local folder, which has only one."""
    if revision not in (None, "main") and Path(name).is_dir():
        raise ValueError(f"`revision` {revision!r} has no effect on the local folder {name}; leave it out.")


def located(name: str, options: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    """Join a local folder and its subfolder, which diffusers ignores if the folder itself holds a model."""
    subfolder = options.get("subfolder")
    if subfolder and Path(name).is_dir():
        return str(Path(name) / subfolder), {key: value for key, value in options.items() if key != "subfolder"}
    return name, options
