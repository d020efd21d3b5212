from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import datasets


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


def load_audio_stream(
    dataset_name: str,
    *,
    config_name: str | None = None,
    split: str = "train",
    data_files: str | Sequence[str] | None = None,
    audio_column: str | None = None,
    revision: str | None = None,
    keep_columns: bool = False,
) -> datasets.IterableDataset:
    """Stream the encoded audio of any data set that `datasets` can stream.

    Args:
        dataset_name (`str`): A Hub id, a local folder of audio, parquet or tar files (WebDataset), or a builder's name
            (`"parquet"`, `"webdataset"`) together with `data_files`.
        config_name (`str`, *optional*): Configuration of the data set.
        split (`str`): Split to stream.
        data_files (`str` or a sequence, *optional*): Files for a builder.
        audio_column (`str`, *optional*): Audio column; by default the only column of audio type.
        revision (`str`, *optional*): Revision of a Hub data set.
        keep_columns (`bool`): Keep the other columns, such as a text or a label.

    Returns:
        `datasets.IterableDataset` with a column `"audio"`: `{"bytes": bytes | None, "path": str | None}`; the only one
        unless `keep_columns`.

    Raises:
        ValueError: There is no audio column or more than one, or `audio_column` is missing.
    """
    stream = datasets.load_dataset(
        dataset_name, config_name, split=split, data_files=data_files, revision=revision, streaming=True
    )
    column = audio_column or _only_audio_column(stream.features or {}, dataset_name)
    if stream.features is not None and column not in stream.features:
        raise ValueError(
            f"`audio_column` {column!r} is not in {dataset_name!r}; its columns are {sorted(stream.features)}."
        )
    # Cast before the stream is mapped, so that no later step requires a decoder.
    stream = stream.cast_column(column, EncodedAudio())
    if not keep_columns:
        stream = stream.select_columns([column])
    return stream if column == "audio" else stream.rename_column(column, "audio")


def _only_audio_column(features: datasets.Features | dict[str, Any], dataset_name: str) -> str:
    columns = [name for name, feature in features.items() if isinstance(feature, datasets.Audio)]
    if len(columns) != 1:
        raise ValueError(
            f"{dataset_name!r} has {len(columns)} audio columns {columns} among {sorted(features)}; "
            f"name the one to use with `audio_column`."
        )
    return columns[0]
