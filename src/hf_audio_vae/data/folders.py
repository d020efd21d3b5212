"""Audio files of a local folder. Only the suffix of a name is used, to tell audio from other files."""

import glob
import importlib.util
import os
import re
import stat
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath

import soundfile

# Suffixes of files that libsndfile reads. RAW has no header; `.mat` is mostly no sound.
SOUNDFILE_SUFFIX = re.compile(
    r"\.(8svx|aif|aifc|aiff|au|avr|bwf|caf|flac|htk|ircam|mat4|mat5|mp1|mp2|mp3|mpc2k|nist|oga|ogg|opus|paf|pvf|rf64|"
    r"sd2|sds|snd|sph|svx|voc|w64|wav|wave|wavex|wve|xi)"
)
# Suffixes of files that FFmpeg reads, through torchcodec.
TORCHCODEC_SUFFIX = re.compile(
    r"\.(3g2|3gp|aac|ac3|amr|ape|asf|avi|dff|dsf|dts|eac3|f4v|flv|m4a|m4b|m4v|mka|mkv|mov|mp4|mpc|mpeg|mpg|mxf|nut|"
    r"ogm|spx|tak|tta|weba|webm|wma|wmv|wv)"
)
# Names of sub-folders that `datasets` documents for splits.
SPLIT_OF_WORD = {
    "train": "train",
    "training": "train",
    "validation": "validation",
    "valid": "validation",
    "dev": "validation",
    "val": "validation",
    "test": "test",
    "testing": "test",
    "eval": "test",
    "evaluation": "test",
}
MAX_HEADERS = 10_000  # of a larger folder, this many headers are read, and its hours are an estimate


@dataclass(frozen=True)
class AudioFolder:
    """The files of a folder and its sub-folders, without hidden ones.

    Args:
        root (`Path`): Absolute path of the folder.
        audio (`tuple[str, ...]`): Paths of audio files relative to the folder, sorted.
        others (`tuple[str, ...]`): Paths of the other files.
        lacking (`tuple[str, ...]`): Paths of audio files that only torchcodec reads, if it is not installed.
        unused (`Mapping[str, int]`): Number of audio files in the sub-folders of other splits.
        hidden (`int`): Number of hidden audio files, outside of hidden folders.
    """

    root: Path
    audio: tuple[str, ...]
    others: tuple[str, ...] = ()
    lacking: tuple[str, ...] = ()
    unused: Mapping[str, int] = field(default_factory=dict)
    hidden: int = 0

    @property
    def paths(self) -> tuple[str, ...]:
        """Absolute paths of the audio files."""
        return tuple(os.path.normpath(os.path.join(self.root, path)) for path in self.audio)

    def split(self, name: str) -> "AudioFolder":
        """Return the files of a split.

        A folder has one split, `train`, with all of its audio. If all audio is in sub-folders whose names are those of
        at least two splits, such as `train` and `test`, these are its splits. `all` is all audio of any folder.

        Raises:
            ValueError: There is no such split.
        """
        splits = {path: split_of_folder(path) for path in self.audio}
        found = {split for split in splits.values() if split is not None}
        own = len(found) > 1 and None not in splits.values()
        if name == "all" or (name == "train" and not own):
            return self
        if not own or name not in found:
            raise ValueError(
                f"{str(self.root)!r} has no split {name!r}; it has {', '.join(sorted(found)) if own else 'train'}. A "
                f"folder of audio has one split, `train`, unless all audio is in sub-folders named train, validation "
                f"or test; choose a split that it has, or pass another folder."
            )
        unused = Counter(path.partition("/")[0] for path in self.audio if splits[path] != name)
        return replace(self, audio=tuple(path for path in self.audio if splits[path] == name), unused=unused)

    def description(self) -> str:
        """Describe in one line which files are used and which are not; reads the headers of the audio files."""
        seconds, unreadable, exact = total_seconds(self.paths)
        text = f"{counted(len(self.audio), 'audio file')}, {'' if exact else 'about '}{_duration(seconds)}"
        if unreadable:
            text += f", {unreadable} without a readable header"
        if left_out := self.others + self.lacking:
            text += f"; {counted(len(left_out), 'other file')} left out ({suffix_counts(left_out)})"
        if self.lacking:
            text += f", of which {suffix_counts(self.lacking)} need FFmpeg and pip install 'hf-audio-vae[m4a]'"
        if self.unused:
            others = ", ".join(f"{folder}/ {count}" for folder, count in sorted(self.unused.items()))
            text += f"; sub-folders of other splits are not used ({others})"
        if self.hidden:
            text += f"; {counted(self.hidden, 'hidden audio file')} left out"
        return text


def read_folder(root: Path) -> AudioFolder:
    """List the files of a folder and its sub-folders. Links to folders are followed, each folder is read once.

    Raises:
        OSError: A folder cannot be listed.
    """
    root = root.resolve()
    paths, hidden = [], 0
    seen: set[tuple[int, int]] = set()
    for folder, folders, files in os.walk(root, onerror=_raise, followlinks=True):
        status = os.stat(folder)
        if (status.st_dev, status.st_ino) in seen:
            folders.clear()
            continue
        seen.add((status.st_dev, status.st_ino))
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        paths += [os.path.relpath(os.path.join(folder, name), root) for name in files if not name.startswith(".")]
        hidden += sum(name.startswith(".") and is_audio_name(name) for name in files)
    return replace(_by_kind(root, paths), hidden=hidden)


def match_files(root: Path, patterns: Sequence[str]) -> AudioFolder:
    """List the files of a folder that have one of these paths or match one of these glob patterns.

    Raises:
        ValueError: There is no such file.
    """
    root = root.resolve()
    paths: set[str] = set()
    for pattern in patterns:
        # A file of exactly this name comes first: its name may hold `*` and `[`.
        matches = [pattern] if (root / pattern).is_file() else glob.glob(pattern, root_dir=root, recursive=True)
        matches = [match for match in matches if (root / match).is_file()]
        if not matches:
            raise ValueError(f"`data_files` {pattern!r} matches no file in {str(root)!r}.")
        paths |= {os.path.relpath(root / match, root) for match in matches}
    return _by_kind(root, sorted(paths))


def _by_kind(root: Path, paths: Sequence[str]) -> AudioFolder:
    found: dict[str, list[str]] = defaultdict(list)
    has_torchcodec = importlib.util.find_spec("torchcodec") is not None
    for path in sorted(paths):
        found[_kind(os.path.join(root, path), has_torchcodec)].append(path)
    return AudioFolder(root, tuple(found["audio"]), tuple(found["others"]), tuple(found["lacking"]))


def split_of_folder(path: str) -> str | None:
    """Return the split that the first folder of a path is named after."""
    folder, separator, _ = path.partition("/")
    return SPLIT_OF_WORD.get(folder) if separator else None


def suffix_of(path: str) -> str:
    """Return the last suffix of a path in lower case, without spaces at the end."""
    return PurePosixPath(path.strip()).suffix.lower()


def is_audio_name(path: str) -> bool:
    """Whether the suffix is that of an audio file."""
    suffix = suffix_of(path)
    return bool(SOUNDFILE_SUFFIX.fullmatch(suffix) or TORCHCODEC_SUFFIX.fullmatch(suffix))


def suffix_counts(paths: Sequence[str]) -> str:
    """Return the number of files of each suffix, the most frequent first: ".jpg 12, .txt 3"."""
    counts = Counter(suffix_of(path) or "no suffix" for path in paths)
    return ", ".join(
        f"{suffix} {count}" for suffix, count in sorted(counts.items(), key=lambda one: (-one[1], one[0]))
    )


def counted(count: int, noun: str) -> str:
    """Return the number with its noun, in the plural unless it is one."""
    return f"{count} {noun}{'' if count == 1 else 's'}"


def total_seconds(paths: Sequence[str]) -> tuple[float, int, bool]:
    """Return the seconds of audio in the headers, the number of unreadable headers, and whether the sum is exact."""
    step = -(-len(paths) // MAX_HEADERS) or 1
    with ThreadPoolExecutor(min(32, 4 * (os.cpu_count() or 1))) as pool:
        seconds = list(pool.map(_seconds, paths[::step]))
    known = [value for value in seconds if value is not None]
    scale = len(paths) / len(seconds) if seconds else 1.0
    return sum(known) * scale, round((len(seconds) - len(known)) * scale), step == 1


def _kind(path: str, has_torchcodec: bool) -> str:
    try:
        regular = stat.S_ISREG(os.stat(path).st_mode)
    except OSError:  # a link to nothing
        regular = False
    if not regular:
        return "others"
    if SOUNDFILE_SUFFIX.fullmatch(suffix_of(path)):
        return "audio"
    if TORCHCODEC_SUFFIX.fullmatch(suffix_of(path)):
        return "audio" if has_torchcodec else "lacking"
    return "others"


def _seconds(path: str) -> float | None:
    try:
        info = soundfile.info(os.fsencode(path))
    except (soundfile.LibsndfileError, OSError):
        return _torchcodec_seconds(path) if TORCHCODEC_SUFFIX.fullmatch(suffix_of(path)) else None
    return float(info.frames / info.samplerate) if info.samplerate else None


def _torchcodec_seconds(path: str) -> float | None:
    try:
        from torchcodec.decoders import AudioDecoder

        return float(AudioDecoder(path).metadata.duration_seconds_from_header or 0.0)
    except (ImportError, RuntimeError, ValueError):
        return None


def _duration(seconds: float) -> str:
    if seconds < 60:
        return f"{seconds:.1f} s"
    return f"{seconds / 60:.1f} min" if seconds < 3600 else f"{seconds / 3600:.2f} h"


def _raise(error: OSError) -> None:
    raise error
