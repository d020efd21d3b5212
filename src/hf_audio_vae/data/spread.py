"""A sample of a stream for validations: of all folders and lengths instead of the first items."""

from collections import defaultdict
from pathlib import Path, PurePath

import datasets

from hf_audio_vae.data.clips import is_url, item_name


def spread_sample(stream: datasets.IterableDataset, count: int) -> datasets.IterableDataset:
    """Return at most `count` items of a stream, the same ones for the same data.

    Files are taken equally from each folder, and within a folder at equal distances in the order of their sizes. The
    audio of tables and archives is only known after reading it, so their items are the first ones of each file, in
    equal numbers.

    Args:
        stream (`datasets.IterableDataset`): From `load_audio_stream`.
        count (`int`): Number of items, 1 or more.
    """
    sizes: dict[str, int] = {}
    for example in stream:
        item = example["audio"]
        if item is None or item["bytes"] is not None or is_url(item["path"]):
            return _from_each_shard(stream, count)
        sizes[item_name(item)] = Path(item["path"]).stat().st_size if Path(item["path"]).is_file() else 0
    chosen = _chosen(sizes, count)
    return stream.filter(lambda example: item_name(example["audio"]) in chosen)


def _chosen(sizes: dict[str, int], count: int) -> set[str]:
    folders = defaultdict(list)
    for name in sorted(sizes, key=lambda name: (sizes[name], name)):
        folders[PurePath(name).parent].append(name)
    chosen: set[str] = set()
    waiting = sorted(
        folders, key=lambda folder: (len(folders[folder]), folder)
    )  # small folders leave places to others
    for position, folder in enumerate(waiting):
        share = min((count - len(chosen)) // (len(waiting) - position), len(folders[folder]))
        chosen |= {folders[folder][(2 * i + 1) * len(folders[folder]) // (2 * share)] for i in range(share)}
    return chosen


def _from_each_shard(stream: datasets.IterableDataset, count: int) -> datasets.IterableDataset:
    shards = min(stream.num_shards, count)
    if shards == 1:
        return stream.take(count)
    counts = [count // shards + (position < count % shards) for position in range(shards)]
    parts = [
        stream.shard(stream.num_shards, index=position * stream.num_shards // shards).take(number)
        for position, number in enumerate(counts)
    ]
    return datasets.concatenate_datasets(parts)
