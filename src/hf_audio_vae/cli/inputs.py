"""Input files of a command: files, and those of folders."""

import sys
from collections.abc import Sequence
from pathlib import Path, PurePath

from hf_audio_vae.cli.outputs import printable
from hf_audio_vae.data.folders import read_folder


def sound_files(given: Sequence[Path], output_dir: Path | None = None) -> dict[Path, PurePath]:
    """Return the files of arguments, each with its name: that of the file, or its path in the folder that is named.

    Prints one line on stderr for each folder, which says what is used.

    Args:
        given (`Sequence[Path]`): Files, and folders, whose audio files are used.
        output_dir (`Path`, *optional*): Output folder of the command.

    Raises:
        ValueError: A file is named twice, or the output folder is in one of the folders.
        OSError: A folder cannot be read.
    """
    _check(given, output_dir)
    files: dict[Path, PurePath] = {}
    for path in given:
        folder = read_folder(path) if path.is_dir() else None
        if folder is not None:
            print(f"{printable(path)}: {printable(folder.description())}", file=sys.stderr)
        if folder is None or not folder.audio:  # a folder without audio is an error of its own, as a missing file
            files[path] = PurePath(path.name)
            continue
        for inside in folder.audio:
            files.setdefault(path / inside, PurePath(inside))
    return files


def latent_files(given: Sequence[Path], output_dir: Path) -> dict[Path, PurePath]:
    """Return the files of arguments as `sound_files`, and all .safetensors files of folders that are not hidden."""
    _check(given, output_dir)
    files: dict[Path, PurePath] = {}
    for path in given:
        inside = sorted(path.rglob("[!.]*.safetensors")) if path.is_dir() else []
        for file in inside or [path]:
            files.setdefault(file, file.relative_to(path if inside else path.parent))
    return files


def _check(given: Sequence[Path], output_dir: Path | None) -> None:
    """Raise `ValueError` if a path is named twice, or the output folder is in a folder of inputs."""
    if twice := [path for path in given if list(given).count(path) > 1]:
        raise ValueError(f"{twice[0]} is named twice; name it once.")
    for folder in given:
        if folder.is_dir() and output_dir is not None and output_dir.resolve().is_relative_to(folder.resolve()):
            raise ValueError(
                f"--output_dir {output_dir} is in the folder {folder}, whose files are the inputs; name a folder "
                f"outside of it."
            )
