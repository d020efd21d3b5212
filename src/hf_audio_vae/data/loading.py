"""Streams of encoded audio from folders of audio and from any data set that `datasets` can stream."""

from collections.abc import Callable, Sequence

import datasets

from hf_audio_vae.data.audio_columns import EncodedAudio, encoded_column, only_audio_column
from hf_audio_vae.data.sources import DataSet, open_data_set

__all__ = ["EncodedAudio", "load_audio_stream"]


def load_audio_stream(
    dataset_name: str,
    *,
    config_name: str | None = None,
    split: str = "train",
    data_files: str | Sequence[str] | None = None,
    audio_column: str | None = None,
    revision: str | None = None,
    keep_columns: bool = False,
    announce: Callable[[str], object] | None = None,
    option_prefix: str = "",
) -> datasets.IterableDataset:
    """Stream the encoded audio of a folder, or of any data set that `datasets` can stream.

    All audio files of a folder are streamed, see `AudioFolder.split`. If the folder has `metadata.csv`, `.jsonl` or
    `.parquet` with a column `file_name`, only the files listed there are streamed, with the other columns. A folder
    from `save_to_disk`, with `configs` in its card, or with at least as many parquet, arrow and tar files as audio
    files is opened as that data set.

    Args:
        dataset_name (`str`): A Hub id, a local folder, or a builder's name (`"parquet"`, `"webdataset"`) together with
            `data_files`.
        config_name (`str`, *optional*): Configuration of the data set.
        split (`str`): Split to stream; `all` for all splits of a local folder.
        data_files (`str` or a sequence, *optional*): Files of a folder or for a builder: paths or glob patterns.
        audio_column (`str`, *optional*): Column of `datasets.Audio`, of bytes, of paths (relative to the file that
            lists them), of `{"bytes", "path"}` or of `{"array", "sampling_rate"}`; by default the only column of audio
            type.
        revision (`str`, *optional*): Revision of a Hub data set.
        keep_columns (`bool`): Keep the other columns, such as a text or a label.
        announce (`Callable`, *optional*): Called with one line that says which data is used and which is not. For a
            folder of audio, this reads the headers of its files.
        option_prefix (`str`): Prefix of the names of the options in messages, such as `"validation_"`.

    Returns:
        `datasets.IterableDataset` with a column `"audio"`: `{"bytes": bytes | None, "path": str | None}`, or `None`
        for a row without audio; the only one unless `keep_columns`.

    Raises:
        ValueError: There is no audio column or more than one, the named column cannot hold audio, there is no such
            split, configuration or file, or an option has no effect on this kind of data set.
        OSError: The data set cannot be found or read.
    """
    data_set = open_data_set(
        dataset_name,
        config_name=config_name,
        split=split,
        data_files=[data_files] if isinstance(data_files, str) else data_files,
        revision=revision,
        with_labels=keep_columns,
        option_prefix=option_prefix,
    )
    option = f"{option_prefix}audio_column"
    stream = _encoded(data_set, audio_column, dataset_name, option, keep_columns)
    if announce:
        announce(f"{dataset_name}: {data_set.description()}")
    return stream


def _encoded(
    data_set: DataSet, column: str | None, name: str, option: str, keep_columns: bool
) -> datasets.IterableDataset:
    """Return the stream of all parts with their audio in the column `audio`."""
    streams = []
    for part in data_set.parts:
        column = column or only_audio_column(part.stream.features, name=name, option=option)
        stream = encoded_column(part.stream, column, part.folder, name=name, option=option)
        if not keep_columns:
            stream = stream.select_columns([column])
        elif column != "audio" and "audio" in part.stream.features:
            raise ValueError(
                f"{name!r} has a column 'audio' beside the `{option}` {column!r}, which takes this name; rename "
                f"'audio' in the data set, or remove it."
            )
        for other, feature in (stream.features or {}).items():
            if isinstance(feature, datasets.Audio) and not isinstance(feature, EncodedAudio):
                stream = stream.cast_column(other, EncodedAudio())  # else it would be decoded
        streams.append(stream if column == "audio" else stream.rename_column(column, "audio"))
    return streams[0] if len(streams) == 1 else datasets.concatenate_datasets(streams)
