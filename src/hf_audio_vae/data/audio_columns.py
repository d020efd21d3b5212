"""Audio columns of any form as one form: `{"bytes", "path"}`, not decoded."""

import io
import os
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import datasets
import numpy as np
import soundfile

# Value of full scale of samples by type. Of other whole numbers, such as those of JSON, it is unknown.
FULL_SCALE = {"int16": 2.0**15, "int32": 2.0**31, "float16": 1.0, "float32": 1.0, "float64": 1.0}


@dataclass
class EncodedAudio(datasets.Audio):
    """An undecoded audio column, `{"bytes", "path"}`, decoded later and only the part that is read.

    `datasets.Audio(decode=False)` does the same, but requires torchcodec and FFmpeg even to pass a path through.
    """

    decode: bool = False

    def encode_example(self, value: Any) -> dict[str, bytes | str | None]:
        """Convert a path, bytes or `{"bytes", "path"}` to a dictionary without decoding."""
        if isinstance(value, str):
            return {"bytes": None, "path": value}
        if isinstance(value, bytes):
            return {"bytes": value, "path": None}
        return {"bytes": value.get("bytes"), "path": value.get("path")}


def encoded_column(
    stream: datasets.IterableDataset, column: str, folder: str | None, *, name: str, option: str
) -> datasets.IterableDataset:
    """Return the stream with a column as `EncodedAudio`.

    Args:
        stream (`datasets.IterableDataset`): Stream with known features.
        column (`str`): Column of `datasets.Audio`, bytes, paths, `{"bytes", "path"}` or `{"array", "sampling_rate"}`.
        folder (`str`, *optional*): Folder or URL that paths are relative to, if there is only one.
        name (`str`): Name of the data set, for messages.
        option (`str`): Name of the option that chooses the column, for messages.

    Raises:
        ValueError: The column is missing, or cannot hold audio.
    """
    features = stream.features or datasets.Features()
    if column not in features:
        raise ValueError(f"`{option}` {column!r} is not in {name!r}; its columns are {sorted(features)}.")
    feature = features[column]
    if isinstance(feature, EncodedAudio):
        return stream
    keys = feature.keys() if isinstance(feature, Mapping) else ()
    encoded = datasets.Features({**features, column: EncodedAudio()})
    if {"array", "sampling_rate"} <= set(keys):
        kind = _innermost(feature["array"])
        if kind not in FULL_SCALE:
            raise ValueError(
                f"the samples in `{option}` {column!r} of {name!r} are {kind}, whose full scale is unknown; store "
                f"floats from -1 to 1, int16 or int32."
            )
        return stream.map(partial(_encode_samples, column=column, scale=FULL_SCALE[kind]), features=encoded)
    if isinstance(feature, datasets.Value) and feature.dtype in ("string", "large_string"):
        if folder is None:
            raise ValueError(
                f"`{option}` {column!r} of {name!r} holds paths, and its lists lie in several folders; choose those "
                f"of one folder with `{option.replace('audio_column', 'data_files')}`."
            )
        return stream.map(partial(_resolve_path, column=column, folder=folder), features=encoded)
    is_bytes = isinstance(feature, datasets.Value) and feature.dtype in ("binary", "large_binary")
    if is_bytes or isinstance(feature, datasets.Audio) or {"bytes", "path"} & set(keys):
        return stream.cast_column(column, EncodedAudio())
    raise ValueError(
        f"`{option}` {column!r} of {name!r} holds {contents(feature)}, which is not audio; choose a column of encoded "
        f"bytes, of paths, of {{bytes, path}} or of {{array, sampling_rate}}. {columns_text(features)}"
    )


def only_audio_column(features: datasets.Features, *, name: str, option: str) -> str:
    """Return the only column of audio type; raises `ValueError` that describes all columns if there is none."""
    columns = [column for column, feature in features.items() if isinstance(feature, datasets.Audio)]
    if len(columns) != 1:
        raise ValueError(
            f"{name!r} has {len(columns)} audio columns {columns}; name the one to use with `{option}`. "
            f"{columns_text(features)}"
        )
    return columns[0]


def columns_text(features: Mapping[str, Any]) -> str:
    """Describe the columns of a data set in one sentence."""
    return f"Its columns are {', '.join(f'{name!r} ({contents(feature)})' for name, feature in features.items())}."


def contents(feature: Any) -> str:
    """Describe the values of a feature in words."""
    if isinstance(feature, Mapping):
        return f"{{{', '.join(feature)}}}"
    if isinstance(feature, datasets.Value):
        return {"string": "text", "large_string": "text", "binary": "bytes", "large_binary": "bytes"}.get(
            feature.dtype, feature.dtype
        )
    if isinstance(feature, datasets.List | datasets.LargeList):
        return f"lists of {contents(feature.feature)}"
    return "audio" if isinstance(feature, datasets.Audio) else type(feature).__name__


def _resolve_path(example: Mapping[str, Any], *, column: str, folder: str) -> dict[str, Any]:
    path = example[column] or None
    if path is None:
        return {column: None}
    # `os.path.join` keeps an absolute path.
    return {column: {"bytes": None, "path": path if "://" in path else os.path.join(folder, path)}}


def _innermost(feature: Any) -> str:
    """Return the type of the numbers in nested lists."""
    while isinstance(feature, datasets.List | datasets.LargeList):
        feature = feature.feature
    return str(getattr(feature, "dtype", contents(feature)))


def _encode_samples(example: Mapping[str, Any], *, column: str, scale: float) -> dict[str, Any]:
    """Encode the samples of a cell as WAV; what is no samples becomes bytes that cannot be decoded."""
    cell = example[column]
    if cell is None or cell["array"] is None:
        return {column: None}
    buffer = io.BytesIO()
    try:
        samples = np.asarray(cell["array"], dtype=np.float32) / np.float32(scale)  # a gap becomes NaN
        if samples.ndim == 2 and samples.shape[0] < samples.shape[1]:
            samples = samples.T  # (channels, time) -> (time, channels)
        soundfile.write(buffer, samples, int(cell["sampling_rate"]), "FLOAT", format="WAV")
    except (ValueError, TypeError, soundfile.LibsndfileError):  # ragged, or without a sampling rate
        buffer = io.BytesIO()
    return {column: {"bytes": buffer.getvalue(), "path": cell.get("path")}}
