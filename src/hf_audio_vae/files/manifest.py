"""Checksums of all files of a folder, in the format of `sha256sum`."""

import hashlib
from pathlib import Path

from hf_audio_vae.files.writing import replacing

MANIFEST = "SHA256SUMS"


def write_manifest(folder: Path) -> None:
    """Write the checksum of every file of a folder to `SHA256SUMS`.

    Args:
        folder (`Path`): Complete folder; `sha256sum --check SHA256SUMS` in it passes from now on.
    """
    lines = [f"{_checksum(path)}  {path.relative_to(folder).as_posix()}\n" for path in sorted(_files(folder))]
    with replacing(folder / MANIFEST) as hidden:
        hidden.write_text("".join(lines))


def check_manifest(folder: Path) -> None:
    """Compare the files of a folder with `SHA256SUMS`; files that it does not list are not read.

    Raises:
        ValueError: `SHA256SUMS` does not exist, or a file is missing or has other content; the message names it.
    """
    manifest = folder / MANIFEST
    if not manifest.is_file():
        raise ValueError(f"{manifest} does not exist, so {folder} is not complete.")
    for line in manifest.read_text(errors="replace").splitlines():
        checksum, _, name = line.partition("  ")
        path = folder / name
        if not name or not path.is_file():
            raise ValueError(f"{path} does not exist, but {MANIFEST} lists it.")
        if _checksum(path) != checksum:
            raise ValueError(f"{path} is damaged: its checksum is not the one in {MANIFEST}.")


def _files(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file() and path != folder / MANIFEST]


def _checksum(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
