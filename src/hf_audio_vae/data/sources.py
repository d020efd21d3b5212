"""Kinds of data sets: folders of audio, local files of tables and archives, and what `datasets` opens by itself."""

import os
import posixpath
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any

import datasets
import pyarrow as pa
import yaml
from huggingface_hub.repocard import metadata_load

from hf_audio_vae.data.audio_columns import EncodedAudio
from hf_audio_vae.data.caching import cache_is_named
from hf_audio_vae.data.clips import as_utf8
from hf_audio_vae.data.folders import (
    SPLIT_OF_WORD,
    AudioFolder,
    counted,
    match_files,
    read_folder,
    suffix_counts,
    suffix_of,
)
from hf_audio_vae.data.metadata_files import METADATA_NAMES, FolderMetadata, read_metadata
from hf_audio_vae.data.tables import Part, builder_of, open_part, with_features
from hf_audio_vae.files.location import existing

# Builders of `datasets` by suffix. Containers hold the audio themselves, lists name files beside them.
CONTAINERS = {".parquet": "parquet", ".arrow": "arrow", ".tar": "webdataset"}
LISTS = {".csv": "csv", ".tsv": "tsv", ".jsonl": "json", ".json": "json", ".ndjson": "json"}
COMPRESSIONS = {".gz", ".bz2", ".xz", ".zst", ".lz4"}
BUILDERS = {"audiofolder", *CONTAINERS.values(), *LISTS.values()}


@dataclass(frozen=True)
class DataSet:
    """An opened data set.

    Args:
        parts (`list[Part]`): Its rows.
        description (`Callable[[], str]`): Returns one line that says which files are used and which are not.
    """

    parts: list[Part]
    description: Callable[[], str]


@cache_is_named()
def open_data_set(
    name: str,
    *,
    config_name: str | None,
    split: str,
    data_files: Sequence[str] | None,
    revision: str | None,
    with_labels: bool,
    option_prefix: str,
) -> DataSet:
    """Open a split of a data set; for the arguments and errors see `load_audio_stream`.

    With `with_labels`, a folder of audio whose files lie at the same depth in several folders has a column `label`.
    """
    root, kind = Path(name).expanduser(), None
    if not name or (name in BUILDERS and not data_files and not root.is_dir()):
        raise ValueError(f"`{option_prefix}dataset_name` is {name!r}; name a data set, or give `data_files` as well.")
    if name in BUILDERS and data_files and not any("://" in file for file in data_files):
        root, kind = Path(), name
    elif root.is_file():
        raise ValueError(
            f"{name!r} is a file; name its folder with `{option_prefix}dataset_name` and the file with "
            f"`{option_prefix}data_files`."
        )
    elif not root.is_dir():
        chosen = list(data_files) if data_files else None
        with existing(name) if name not in BUILDERS else nullcontext():
            builder = datasets.load_dataset_builder(name, config_name, data_files=chosen, revision=revision)
        return _built(builder, split)
    if revision is not None:
        raise ValueError(f"`{option_prefix}dataset_revision` is for data sets of the Hub; {name!r} is local.")
    if not data_files and _has_configurations(root):
        return _built(datasets.load_dataset_builder(str(root), config_name), split)
    if config_name is not None:
        raise ValueError(f"{name!r} has no configurations; leave out `{option_prefix}dataset_config_name`.")
    if not data_files and ((root / "dataset_dict.json").is_file() or (root / "state.json").is_file()):
        return _saved(root, split)
    files = match_files(root, data_files) if data_files else read_folder(root)
    kind = kind or _kind_of(files)
    zips = [str(files.root / path) for path in files.others if suffix_of(path) == ".zip"]
    if kind == "audiofolder" and zips and not files.audio:
        return _built(builder_of("audiofolder", zips), split)
    if kind == "audiofolder":
        return _folder_of_audio(files, split, with_labels)
    return _files_of_kind(name, files, kind, split, named=bool(data_files))


@cache_is_named()
def open_tables(name: str, *, split: str, revision: str | None, **options: object) -> datasets.IterableDataset:
    """Stream the rows of parquet files in a folder or on the Hub, with further options of the parquet builder."""
    root = Path(name).expanduser()
    if not root.is_dir():
        with existing(name):
            return datasets.load_dataset(name, split=split, revision=revision, streaming=True, **options)
    (part,) = _files_of_kind(name, read_folder(root), "parquet", split, named=False, **options).parts
    return part.stream


def _kind_of(files: AudioFolder) -> str:
    """Return the builder for the files of a folder."""
    kinds = Counter(_table_kind(path) for path in files.others if PurePosixPath(path).name not in METADATA_NAMES)
    containers, lists = ({kind: kinds[kind] for kind in ones.values() if kinds[kind]} for ones in (CONTAINERS, LISTS))
    chosen = containers or (lists if not files.audio else {})
    if not chosen or sum(chosen.values()) < len(files.audio):
        return "audiofolder"
    return max(chosen, key=lambda kind: chosen[kind])


def _table_kind(path: str) -> str | None:
    """Return the builder for a file of tables by its suffix, compressed or not."""
    suffix = suffix_of(path)
    if suffix in COMPRESSIONS:
        suffix = suffix_of(path.strip()[: -len(suffix)])
    return (CONTAINERS | LISTS).get(suffix)


def _folder_of_audio(files: AudioFolder, split: str, with_labels: bool) -> DataSet:
    metadata = read_metadata(files.root, files.others)
    if not files.audio and metadata is None:
        raise ValueError(f"{str(files.root)!r} holds no audio that can be read: {files.description()}.")
    chosen = files.split(split)
    if metadata is None:
        remark = _unused_tables(chosen, ())
        return DataSet([Part(_stream_of_files(chosen, with_labels))], lambda: chosen.description() + remark)
    remark = _unused_tables(chosen, metadata.files)
    listed = metadata.within(split) if chosen.unused else metadata
    return DataSet(
        [Part(_stream_of_rows(chosen.root, listed))], lambda: _description_of_listed(chosen, listed) + remark
    )


def _unused_tables(files: AudioFolder, used: Sequence[str]) -> str:
    """Name the tables of metadata that list no files: their separator or their column is a wrong one."""
    tables = [path for path in files.others if PurePosixPath(path).name in METADATA_NAMES and path not in used]
    return f"; no column of texts `file_name` in {_first(tables)}, which is not used" if tables else ""


def _description_of_listed(files: AudioFolder, metadata: FolderMetadata) -> str:
    listed = metadata.listed
    others = tuple(path for path in files.others if path not in metadata.files)
    used = replace(files, audio=tuple(path for path in files.audio if path in listed), others=others)
    unlisted = [path for path in files.audio if path not in listed]
    absent = [path for path in sorted(listed - set(files.audio)) if not (files.root / path).is_file()]
    text = f"{used.description()}; listed in {', '.join(metadata.files)}"
    if repeated := metadata.repeated:
        text += f"; {counted(repeated, 'row')} {'names' if repeated == 1 else 'name'} a file that an earlier row names"
    if unlisted:
        text += f"; {counted(len(unlisted), 'audio file')} not listed there and not used ({_first(unlisted)})"
    if absent:
        text += f"; {counted(len(absent), 'listed file')} not found ({_first(absent)})"
    return text


def _first(names: Sequence[str]) -> str:
    return ", ".join(names[:3]) + (", ..." if len(names) > 3 else "")


def _stream_of_files(files: AudioFolder, with_labels: bool) -> datasets.IterableDataset:
    features = datasets.Features({"audio": EncodedAudio()})
    labels = sorted(set(map(_label, files.paths)))
    if with_labels and len(labels) > 1 and len({path.count("/") for path in files.audio}) == 1:
        features["label"] = datasets.ClassLabel(names=labels)
    # A tuple, since a list would make each file a shard.
    return datasets.IterableDataset.from_generator(
        _rows_of_files, features, {"paths": files.paths, "with_labels": "label" in features}
    )


def _rows_of_files(paths: Sequence[str], with_labels: bool) -> Iterator[dict[str, Any]]:
    for path in paths:
        label = {"label": _label(path)} if with_labels else {}
        yield {"audio": {"bytes": None, "path": path}} | label


def _label(path: str) -> str:
    return as_utf8(os.path.basename(os.path.dirname(path)))


def _stream_of_rows(root: Path, metadata: FolderMetadata) -> datasets.IterableDataset:
    features = datasets.Features.from_arrow_schema(metadata.rows.schema.remove_metadata())
    for column in metadata.path_columns:
        features[column] = EncodedAudio()
    arguments = {"rows": metadata.rows, "columns": metadata.path_columns, "root": str(root)}
    return datasets.IterableDataset.from_generator(_rows_of_table, features, arguments)


def _rows_of_table(rows: pa.Table, columns: Sequence[str], root: str) -> Iterator[dict[str, Any]]:
    for batch in rows.to_batches(max_chunksize=1000):
        for row in batch.to_pylist():
            paths = {name: None if row[name] is None else os.path.join(root, row[name]) for name in columns}
            yield row | {name: path and {"bytes": None, "path": path} for name, path in paths.items()}


def _files_of_kind(name: str, files: AudioFolder, kind: str, split: str, *, named: bool, **options: object) -> DataSet:
    """Open parquet, arrow, tar, CSV or JSON files with the builder of `datasets` for them."""
    everything = (*files.audio, *files.others, *files.lacking)
    chosen = [path for path in everything if named or _table_kind(path) == kind]
    if not chosen:
        raise ValueError(f"{name!r} holds no {kind} files; it holds {suffix_counts(everything) or 'nothing'}.")
    by_split = {"train": chosen} if named else _splits_by_name(chosen)
    paths = sorted(chosen) if split == "all" else by_split.get(split)
    if paths is None:
        raise ValueError(f"{name!r} has no split {split!r}; it has {', '.join(by_split)}.")
    by_folder: dict[str, list[str]] = defaultdict(list)
    for path in paths:
        absolute = os.path.normpath(os.path.join(files.root, path))
        if "::" in absolute and kind != "webdataset":
            raise ValueError(f"{absolute!r} cannot be opened: `datasets` reads `::` as an archive; rename it.")
        by_folder[os.path.dirname(absolute) if kind in LISTS.values() else ""].append(absolute)
    parts = [open_part(kind, ones, folder or str(files.root), **options) for folder, ones in by_folder.items()]

    def description() -> str:
        text = f"{counted(len(paths), f'{kind} file')}, split {split!r} of {', '.join(by_split)}"
        if left_out := sorted(set(everything) - set(chosen)):
            text += f"; {counted(len(left_out), 'other file')} left out ({suffix_counts(left_out)})"
        return "; ".join([text, *(remark for part in parts for remark in part.remarks)])

    return DataSet(parts, description)


def _splits_by_name(paths: Sequence[str]) -> dict[str, list[str]]:
    """Return the files of each split, if the names of the files or of their folders give all of them a split.

    The names are those that `datasets` documents: `NAME-00000-of-00005.parquet`, folders and files with a word such as
    `train`. If a file has none, all files are `train`.
    """
    rules: tuple[Callable[[str], str | None], ...] = (_split_of_shard, _split_of_folder, _split_of_file)
    for rule in rules:
        splits = {path: rule(path) for path in paths}
        if None not in splits.values():
            return {
                name: [path for path in paths if splits[path] == name]
                for name in sorted(filter(None, set(splits.values())))
            }
    return {"train": list(paths)}


def _split_of_shard(path: str) -> str | None:
    match = re.fullmatch(r"(.+)-\d{5}-of-\d{5}\..+", PurePosixPath(path).name)
    return match and match[1]


def _split_of_folder(path: str) -> str | None:
    return next(filter(None, map(_split_in, PurePosixPath(path).parts[:-1])), None)


def _split_of_file(path: str) -> str | None:
    return _split_in(PurePosixPath(path).name)


def _split_in(name: str) -> str | None:
    words = re.split(r"[-._ 0-9]+", name)
    return next((SPLIT_OF_WORD[word] for word in words if word in SPLIT_OF_WORD), None)


def _built(builder: datasets.DatasetBuilder, split: str) -> DataSet:
    """Open a split of a data set that `datasets` describes."""
    files: Mapping[str, Sequence[str]] = builder.config.data_files or {}
    folders = {posixpath.dirname(file) for file in files.get(split, ())}
    stream = with_features(builder.as_streaming_dataset(split=split))

    def description() -> str:
        count = f"{counted(len(files[split]), 'file')}, " if split in files else ""
        return f"{count}split {split!r} of {', '.join(map(str, files))}, configuration {builder.config.name!r}"

    return DataSet([Part(stream, folders.pop() if len(folders) == 1 else None)], description)


def _saved(root: Path, split: str) -> DataSet:
    """Open a folder from `save_to_disk`."""
    try:
        saved = datasets.load_from_disk(str(root))
    except IndexError as error:  # of no tables
        raise ValueError(f"{str(root)!r} holds no rows; save a data set with rows.") from error
    splits = saved if isinstance(saved, datasets.DatasetDict) else {str(saved.split or "train"): saved, "train": saved}
    if split not in splits:
        raise ValueError(f"{str(root)!r} has no split {split!r}; it has {', '.join(splits)}.")
    rows = splits[split]
    stream = rows.to_iterable_dataset(num_shards=max(min(len(rows.cache_files), len(rows)), 1))
    return DataSet([Part(stream, str(root))], lambda: f"{len(rows)} rows from `save_to_disk`, split {split!r}")


def _has_configurations(root: Path) -> bool:
    """Whether the card of a folder describes configurations."""
    if (root / ".huggingface.yaml").is_file():
        return True
    try:
        card = metadata_load(root / "README.md") if (root / "README.md").is_file() else None
    except (ValueError, yaml.YAMLError):  # no card, but a text that begins with a rule
        return False
    return bool(card and card.get("configs"))
