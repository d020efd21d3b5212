"""Endless stream of batches of random crops: sharded, shuffled, and exactly resumable at any batch.

Distribution of items: every process of a run has the same number of workers, and each (process, worker) is a reader.
If the shards can be divided evenly between the readers and `max_items` is not set, each reader has its own shards.
They should be of similar size, since a reader starts its next epoch as soon as it finishes one. Otherwise every reader
iterates over all items and decodes only its own: item `i`, counted across epochs, belongs to process
``i % world_size``, and the workers of a process take batches in turn. Then the batches do not depend on the number of
workers, nor, combined over processes, on the number of processes. In both cases a reader gets each of its items once
per epoch, and the stream never ends, so no process waits for the last batch of another.

The offset of a crop and its noise depend on the seed, the epoch and the item's index in the epoch.
"""

import logging
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import KW_ONLY, dataclass, field
from typing import Any, Generic, TypeVar

import datasets
import fsspec.asyn
import numpy as np
from torch.utils.data import IterableDataset, get_worker_info

MIN_ITEMS_TO_JUDGE = 20

logger = logging.getLogger(__name__)


class TooManyBadItemsError(RuntimeError):
    """The share of items that cannot be used exceeds the limit."""


@dataclass(frozen=True)
class Position:
    """Position of a reader in the data set.

    Args:
        epoch (`int`): Finished epochs.
        index (`int`): Items passed in this epoch.
        total (`int`): Items passed in all epochs.
    """

    epoch: int = 0
    index: int = 0
    total: int = 0


@dataclass(frozen=True)
class Origin:
    """Origin of a batch.

    Args:
        names (`list[str]`): Name of the item of each sample.
        seeds (`list[int]`): Seed of each sample for its noise, unique within the run.
        reader (`int`): Worker that read the batch.
        position (`Position`): Position of that worker after the batch.
        skipped (`dict[str, str]`): Items skipped since the worker's previous batch, with the reason.
        num_skipped (`int`): Their number; several may have one name, such as rows without audio.
    """

    names: list[str]
    seeds: list[int]
    reader: int
    position: Position
    skipped: dict[str, str] = field(default_factory=dict)
    num_skipped: int = 0


@dataclass
class StreamBatch:
    """Base class of batches.

    Args:
        origin (`Origin`): Origin of the samples.
    """

    origin: Origin

    @property
    def names(self) -> list[str]:
        """Name of the item of each sample."""
        return self.origin.names

    @property
    def seeds(self) -> list[int]:
        """Seed of each sample, unique within the run."""
        return self.origin.seeds


SampleT = TypeVar("SampleT")
BatchT = TypeVar("BatchT", bound=StreamBatch)


class BadItemError(ValueError):
    """An item that cannot be used; the stream skips it."""


@dataclass(eq=False)
class ItemStream(IterableDataset["BatchT | Exception"], ABC, Generic[SampleT, BatchT]):
    """Endless batches of samples that a subclass reads from the items of a streamed data set.

    Args:
        source (`datasets.IterableDataset`): Source of the items.
        batch_size (`int`): Samples per batch in this process.
        seed (`int`): Seed of the order and the crops.
        shuffle_buffer_size (`int`): Items in the shuffle buffer; 1 keeps the order. If items come as bytes (parquet,
            tar), each worker holds this many encoded files in memory.
        rank (`int`): Rank of this process.
        world_size (`int`): Number of processes.
        max_items (`int`, *optional*): Use only the first `max_items` items.
        max_bad_share (`float`): Stop when more than this share of a reader's items cannot be used, checked from its
            20th item on; an epoch without a usable item always stops the run.

    Raises:
        TooManyBadItemsError: On iteration, past `max_bad_share`.
        ValueError: On iteration, the data set is empty.
    """

    source: datasets.IterableDataset
    _: KW_ONLY
    batch_size: int
    seed: int
    shuffle_buffer_size: int = 100
    rank: int = 0
    world_size: int = 1
    max_items: int | None = None
    max_bad_share: float = 0.1

    def __post_init__(self) -> None:
        if self.max_items is not None:
            self.source = self.source.take(self.max_items)
        self.first_reader = 0
        self.positions: dict[int, Position] = {}

    @abstractmethod
    def name(self, example: Mapping[str, Any]) -> str:
        """Return the name of an item in logs."""

    @abstractmethod
    def read(self, example: Mapping[str, Any], seed: int) -> SampleT:
        """Read a sample from an item; raises `BadItemError` or `OSError` if the item cannot be used."""

    @abstractmethod
    def collate(self, samples: list[SampleT], origin: Origin) -> BatchT:
        """Collate samples to a batch."""

    @property
    @abstractmethod
    def segment_length(self) -> int:
        """Length of a crop in the unit of the stream; a resumed run has to use the same."""

    def __iter__(self) -> Iterator["BatchT | Exception"]:
        worker = get_worker_info()
        num_workers = worker.num_workers if worker else 1
        if worker:
            fsspec.asyn.reset_lock()  # a forked lock may be held by a thread that does not exist in this process
        reader = (self.first_reader + (worker.id if worker else 0)) % num_workers
        try:
            yield from self._batches(reader, num_workers)
        except TooManyBadItemsError as error:
            yield error  # an error raised in a worker is wrapped in a traceback
        except (ValueError, OSError) as error:
            yield (OSError if isinstance(error, OSError) else ValueError)(str(error))

    def _batches(self, reader: int, num_workers: int) -> Iterator[BatchT]:
        batch: list[tuple[SampleT, str, int]] = []
        skipped: dict[str, str] = {}
        num_skipped = 0
        bad_item_limit = _BadItemLimit(self.max_bad_share)
        for example, position in self._items(reader, num_workers):
            if example is None:
                bad_item_limit.end_epoch()
                continue
            name, seed = self.name(example), self._seed(reader, position, num_workers)
            try:
                sample = self.read(example, seed)
            except (BadItemError, OSError) as error:
                skipped[name] = str(error)
                num_skipped += 1
                bad_item_limit.bad(name, str(error))
                continue
            bad_item_limit.good()
            batch.append((sample, name, seed))
            if len(batch) == self.batch_size:
                samples, names, seeds = (list(column) for column in zip(*batch, strict=True))
                yield self.collate(samples, Origin(names, seeds, reader, position, skipped, num_skipped))
                batch, skipped, num_skipped = [], {}, 0

    def _items(self, reader: int, num_workers: int) -> Iterator[tuple[dict[str, Any] | None, Position]]:
        """Yield the items of this reader with the position after each, and `None` after each epoch."""
        readers = self.world_size * num_workers
        by_shard = self.by_shard(num_workers)
        source = self.source
        if by_shard:
            source = source.shard(num_shards=readers, index=self.rank * num_workers + reader)
        start = self.positions.get(reader, Position())
        epoch, total = start.epoch, start.total - start.index
        while True:
            index = 0
            # `iter` instead of `for`: it does not split the shards between the workers again.
            for index, examples in enumerate(self.shuffled(source, epoch).iter(batch_size=1), start=1):
                local_index, rank = divmod(total + index - 1, self.world_size)
                is_own = by_shard or (rank == self.rank and local_index // self.batch_size % num_workers == reader)
                if is_own and (epoch, index) > (start.epoch, start.index):
                    yield {name: column[0] for name, column in examples.items()}, Position(epoch, index, total + index)
            if index == 0:
                raise ValueError("the data set holds no items (a shard of it, if it is split); check path and split.")
            total += index
            epoch += 1
            yield None, Position(epoch, 0, total)

    def by_shard(self, num_workers: int) -> bool:
        """Whether each reader has its own shards, given the number of readers of this process."""
        readers = self.world_size * num_workers
        return readers > 1 and self.max_items is None and self.source.num_shards % readers == 0

    def _seed(self, reader: int, position: Position, num_workers: int) -> int:
        """Return a unique seed of a sample; without sharding it does not depend on the reader."""
        shard_index = self.rank * num_workers + reader if self.by_shard(num_workers) else 0
        entropy = [self.seed, position.epoch, shard_index, position.index]
        return int(np.random.SeedSequence(entropy).generate_state(1, np.uint64)[0] >> 1)

    def shuffled(self, source: datasets.IterableDataset, epoch: int) -> datasets.IterableDataset:
        """Return a source shuffled for an epoch."""
        if self.shuffle_buffer_size <= 1:
            return source
        seed = int(np.random.SeedSequence([self.seed, epoch]).generate_state(1)[0])
        # One shard at a time: mixing several reads ahead in threads and pauses a second or more at each epoch.
        return source.shuffle(seed=seed, buffer_size=self.shuffle_buffer_size, max_buffer_input_shards=1)


class _BadItemLimit:
    """Counts items that cannot be used and raises an error above the limit."""

    def __init__(self, max_bad_share: float) -> None:
        self.max_bad_share = max_bad_share
        self.items = 0
        self.bad_items = 0
        self.last = ""

    def good(self) -> None:
        self.items += 1

    def bad(self, name: str, reason: str) -> None:
        self.items += 1
        self.bad_items += 1
        self.last = f"{name}: {reason}"
        if self.items >= MIN_ITEMS_TO_JUDGE and self.bad_items > self.max_bad_share * self.items:
            self._stop()

    def end_epoch(self) -> None:
        if self.bad_items == self.items > 0:
            self._stop()

    def _stop(self) -> None:
        raise TooManyBadItemsError(
            f"{self.bad_items} of {self.items} items cannot be used, more than `max_bad_share` "
            f"{self.max_bad_share}; the last one is {self.last} Repair the data set or raise the limit."
        )
