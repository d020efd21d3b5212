"""Names of output files: inside the output folder, distinct, and never those of another input's outputs."""

import json
import os
import re
import zlib
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path, PurePath

from hf_audio_vae.files import as_write_error, check_folder_writable, check_no_file, replacing

MAX_NAME = 255  # bytes
MAX_NAMED = 8  # files in a message
RECORD = ".hf-audio-vae.jsonl"


class Outputs:
    """The output files of the inputs of a command.

    An existing file is replaced only if the same input made it, and nobody changed it since; a hidden file in the
    output folder records this.

    Args:
        inputs (`Mapping[Path, PurePath]`): Input files with their names, which may have folders; see `sound_files`.
        folder (`Path`): Output folder; created if missing, and checked for write access.
        endings (`Sequence[str]`): What follows the stem of an input in the names of its outputs.
        overwrite (`bool`): Replace existing files that are not inputs.

    Raises:
        ValueError: Two outputs would have one name, or an output would replace an input or another file.
        OSError: The folder cannot be created or written.
    """

    def __init__(
        self, inputs: Mapping[Path, PurePath], folder: Path, endings: Sequence[str], *, overwrite: bool
    ) -> None:
        self._folder = folder
        room = MAX_NAME - max(map(len, endings))
        self.stems = {path: _in_folder(name, fitting(name.stem, room)) for path, name in inputs.items()}
        self._targets = {path: [folder / f"{stem}{end}" for end in endings] for path, stem in self.stems.items()}
        owners: dict[Path, Path] = {}
        for path in inputs:
            for target in self._targets[path]:
                if target in owners:
                    raise ValueError(
                        f"{owners[target]} and {path} have the same name, so that both would be written to {target}; "
                        f"give them in separate calls with another --output_dir, or rename one."
                    )
                owners[target] = path
        for subfolder in {target.parent for target in owners} | {folder}:
            check_writable(subfolder)
        sources, recorded = {path.resolve() for path in inputs}, _recorded(folder)
        for target, path in owners.items():
            _check_no_input(target, sources)
            if (
                os.path.lexists(target)
                and not overwrite
                and recorded.get(self._recorded_name(target)) != _state(target, path)
            ):
                raise ValueError(
                    f"{target} exists and was not made from {path}; name another --output_dir, or give --overwrite."
                )

    @contextmanager
    def writing(self, path: Path) -> Iterator[list[Path]]:
        """Yield hidden files for an input's outputs, in the order of the endings; rename them when all are whole."""
        targets = self._targets[path]
        with ExitStack() as stack:
            yield [stack.enter_context(replacing(target)) for target in targets]
        lines = "".join(json.dumps({self._recorded_name(target): _state(target, path)}) + "\n" for target in targets)
        record = os.open(self._folder / RECORD, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW, 0o666)
        with open(record, "w") as file:
            file.write(lines)

    def _recorded_name(self, target: Path) -> str:
        return str(target.relative_to(self._folder))

    def __getitem__(self, path: Path) -> Path:
        """The first output of an input."""
        return self._targets[path][0]


def _in_folder(name: PurePath, stem: str) -> str:
    """Return a stem after the folders of a name; a stem may be a dot."""
    return "/".join((*name.parts[:-1], stem))


def check_new_folder(path: Path) -> None:
    """Check that a path is unused or an empty folder; raises `ValueError`, or `OSError` if it cannot be used."""
    if os.path.lexists(path) and (not path.is_dir() or any(path.iterdir())):
        raise ValueError(f"{path} exists and is not empty; name another destination.")
    with as_write_error(path):
        check_no_file(path.parent)


def new_files(folder: Path, names: Sequence[str], *, overwrite: bool, inputs: Sequence[Path] = ()) -> list[Path]:
    """Return the paths of files that a command makes without a file to name them after.

    Args:
        folder (`Path`): Output folder; created if missing, and checked for write access.
        names (`Sequence[str]`): Names of the files; separators and control characters in them are replaced.
        overwrite (`bool`): Replace existing files that are not inputs.
        inputs (`Sequence[Path]`): Input files.

    Raises:
        ValueError: A file exists, or two names are the same after the replacement.
        OSError: The folder cannot be created or written.
    """
    check_writable(folder)
    targets = list[Path]()
    for name in names:
        stem, dot, ending = "".join(c if c.isprintable() and c not in "/\\" else "-" for c in name).rpartition(".")
        targets.append(folder / f"{fitting(stem, MAX_NAME - len(dot + ending))}{dot}{ending}")
    sources = {path.resolve() for path in inputs}
    if same := [target for target in targets if targets.count(target) > 1]:
        raise ValueError(f"two outputs would be {same[0]}; rename an input, or give the inputs in separate calls.")
    for target in targets:
        _check_no_input(target, sources)
        if os.path.lexists(target) and not overwrite:
            raise ValueError(f"{target} exists; name another --output_dir, or give --overwrite.")
    return targets


def older_files(folder: Path, pattern: str, new: Collection[Path]) -> str | None:
    """Return a line that names files of earlier calls which the new files did not replace; `None` if there are none.

    Args:
        folder (`Path`): Output folder.
        pattern (`str`): Regular expression of the whole names that the command gives.
        new (`Collection[Path]`): Files of this call.
    """
    names = {path.name for path in folder.iterdir() if re.fullmatch(pattern, path.name)}
    older = sorted(names - {path.name for path in new})
    if not older:
        return None
    shown = ", ".join(map(printable, older[:MAX_NAMED])) + (", ..." if len(older) > MAX_NAMED else "")
    return f"{printable(folder)} also has {len(older)} older file(s) that were not replaced: {shown}"


def fitting(stem: str, room: int) -> str:
    """Shorten a stem to `room` bytes; a checksum keeps shortened names apart."""
    if len(os.fsencode(stem)) <= room:
        return stem
    checksum = f"~{zlib.crc32(os.fsencode(stem)):08x}"
    return os.fsencode(stem)[: room - len(checksum)].decode(errors="ignore") + checksum


def printable(name: object) -> str:
    """Escape control characters and undecodable bytes, so that a name stays on one line."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape", "surrogatepass").decode() for c in str(name))


def check_writable(folder: Path, option: str = "--output_dir") -> None:
    """Make the folder of an option if it is missing; raises `OSError` if it cannot be written."""
    try:
        check_folder_writable(folder)
    except OSError as error:
        raise OSError(f"{option} {folder} cannot be written: {error.strerror or error}") from error


def check_new_file(path: Path, option: str, *, overwrite: bool, inputs: Sequence[Path]) -> None:
    """Check the file that an option names for a command to write.

    Args:
        path (`Path`): File to write. Its folder is made if it is missing.
        option (`str`): Name of the option.
        overwrite (`bool`): Replace an existing file that is not an input.
        inputs (`Sequence[Path]`): Input files.

    Raises:
        ValueError: The file exists, or is an input.
        OSError: The folder cannot be created or written.
    """
    if path.resolve() in {source.resolve() for source in inputs}:
        raise ValueError(f"{option} {path} is an input and would be replaced; name another file.")
    check_writable(path.parent, f"the folder of {option},")
    if os.path.lexists(path) and not overwrite:
        raise ValueError(f"{path} exists; name another file, or give --overwrite.")


def _check_no_input(target: Path, sources: Collection[Path]) -> None:
    if target.resolve() in sources:
        raise ValueError(f"{target} is an input and would be replaced; name another --output_dir.")


def _state(target: Path, source: Path) -> list[str | int]:
    """What a record says about an output: its input, its size and the time of its last change."""
    status = target.lstat()
    return [str(source.resolve()), status.st_size, status.st_mtime_ns]


def _recorded(folder: Path) -> dict[str, list[str | int]]:
    """The last state of each output in the record; lines that are not whole are left out."""
    states: dict[str, list[str | int]] = {}
    record = folder / RECORD
    if record.is_symlink() or not record.is_file():
        return states
    for line in record.read_text(errors="replace").splitlines():
        try:
            states |= json.loads(line)
        except (ValueError, TypeError):
            continue
    return states
