from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import datasets


@dataclass
class EncodedAudio(datasets.Audio):
    """An audio column left as `datasets` finds it: `{"bytes", "path"}`, decoded later and only where it is read.

    `datasets.Audio(decode=False)` would do, but asks for torchcodec and FFmpeg to pass a path through.
    """

    decode: bool = False

    def encode_example(self, value: Any) -> dict[str, bytes | str | None]:
        """Take a path, bytes or `{"bytes", "path"}` as it is."""
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
    """Stream the encoded audio of anything `datasets` can stream.

    Args:
        dataset_name (`str`): A Hub id, a local folder of audio, parquet or tar files (WebDataset), or a builder's name
            (`"parquet"`, `"webdataset"`) together with `data_files`.
        config_name (`str`, *optional*): Configuration of the data set.
        split (`str`): Which split.
        data_files (`str` or a sequence, *optional*): Files for a builder.
        audio_column (`str`, *optional*): The column that holds audio; found by its type if there is just one.
        revision (`str`, *optional*): Version of a Hub data set.
        keep_columns (`bool`): Keep what else there is to an item, such as a text or a label.

    Returns:
        `datasets.IterableDataset` with a column `"audio"`: `{"bytes": bytes | None, "path": str | None}`; the only one
        unless `keep_columns`.

    Raises:
        ValueError: No column, or more than one, holds audio, or `audio_column` is not there.
    """
    stream = datasets.load_dataset(
        dataset_name, config_name, split=split, data_files=data_files, revision=revision, streaming=True
    )
    column = audio_column or _only_audio_column(stream.features or {}, dataset_name)
    if stream.features is not None and column not in stream.features:
        raise ValueError(
            f"`audio_column` {column!r} is not in {dataset_name!r}; its columns are {sorted(stream.features)}."
        )
    # Cast before anything maps the stream: from then on no step asks for a decoder.
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
