"""An endless stream of batches of random stretches: sharded, shuffled, and resumable at any batch, exactly.

Who reads what. Every process of a run has the same number of workers, and each (process, worker) is a reader. Where
the data set's shards can be dealt out evenly, and `max_items` is not set, each reads its own; shards should then be of
like size, since a reader starts its next epoch when it is through. Otherwise all list every item and each decodes its
own: item `i`, counted on through the epochs, belongs to process ``i % world_size``, and within it to the worker whose
turn the batch is. Batches then do not depend on how many workers there are, nor, as a whole, on how many processes.
Either way a reader meets each of its items once an epoch, and the stream never ends: no process is left waiting for
another's last batch.

Where a stretch lies, and its noise, depend on the seed, the epoch and the item's place in it.
"""

import logging
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import KW_ONLY, asdict, dataclass, field
from typing import Any, Generic, TypeVar

import datasets
import fsspec.asyn
import numpy as np
import torch
from torch.utils.data import DataLoader, IterableDataset, get_worker_info

MIN_ITEMS_TO_JUDGE = 20

logger = logging.getLogger(__name__)


class TooManyBadItemsError(RuntimeError):
    """More of the data set than allowed cannot be used."""


@dataclass(frozen=True)
class Position:
    """How far a reader has come.

    Args:
        epoch (`int`): Passes it has finished.
        index (`int`): Items it has gone past in this one.
        total (`int`): Items it has gone past in all.
    """

    epoch: int = 0
    index: int = 0
    total: int = 0


@dataclass(frozen=True)
class Origin:
    """Where a batch comes from.

    Args:
        names (`list[str]`): What each sample was made of.
        seeds (`list[int]`): A number for each sample that no other of the run has, for its noise.
        reader (`int`): Worker that read them.
        position (`Position`): How far that worker had come after the last of them.
        skipped (`dict[str, str]`): Items passed over since the worker's last batch, with the reason.
    """

    names: list[str]
    seeds: list[int]
    reader: int
    position: Position
    skipped: dict[str, str] = field(default_factory=dict)


@dataclass
class StreamBatch:
    """What every batch has, whatever is in it.

    Args:
        origin (`Origin`): Where it comes from.
    """

    origin: Origin

    @property
    def names(self) -> list[str]:
        """What each sample was made of."""
        return self.origin.names

    @property
    def seeds(self) -> list[int]:
        """A number for each sample that no other of the run has."""
        return self.origin.seeds


SampleT = TypeVar("SampleT")
BatchT = TypeVar("BatchT", bound=StreamBatch)


class BadItemError(ValueError):
    """An item that nothing can be made of; the stream goes on without it."""


@dataclass(eq=False)
class ItemStream(IterableDataset["BatchT | TooManyBadItemsError"], ABC, Generic[SampleT, BatchT]):
    """Batches of what a subclass reads from each item of a streamed data set, without end.

    Args:
        source (`datasets.IterableDataset`): Where the items come from.
        batch_size (`int`): Samples a batch, in this process.
        seed (`int`): Decides order and places.
        shuffle_buffer_size (`int`): Items to draw the next one from; 1 keeps the order. With data that comes as bytes
            (parquet, tar) that many encoded files are held in memory by each worker.
        rank (`int`): This process.
        world_size (`int`): Number of processes.
        max_items (`int`, *optional*): Use only the first so many items.
        max_bad_share (`float`): Stop when more than this share of the items a reader has met cannot be used, judged
            from its 20th item on; a whole epoch without a good item ends the run whatever its length.

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
        """Return what a log calls an item."""

    @abstractmethod
    def read(self, example: Mapping[str, Any], seed: int) -> SampleT:
        """Make a sample of an item; `BadItemError` or `OSError` if it cannot be done."""

    @abstractmethod
    def collate(self, samples: list[SampleT], origin: Origin) -> BatchT:
        """Put samples together."""

    @property
    @abstractmethod
    def segment_length(self) -> int:
        """Length of what is read of an item, in its own unit; a resumed run has to have the same."""

    def __iter__(self) -> Iterator["BatchT | TooManyBadItemsError"]:
        worker = get_worker_info()
        num_workers = worker.num_workers if worker else 1
        if worker:
            fsspec.asyn.reset_lock()  # a forked lock may be held by a thread that does not exist here
        reader = (self.first_reader + (worker.id if worker else 0)) % num_workers
        try:
            yield from self._batches(reader, num_workers)
        except TooManyBadItemsError as error:
            yield error  # raised in a worker, it would arrive wrapped in a traceback

    def _batches(self, reader: int, num_workers: int) -> Iterator[BatchT]:
        batch: list[tuple[SampleT, str, int]] = []
        skipped: dict[str, str] = {}
        judge = _Judge(self.max_bad_share)
        for example, position in self._items(reader, num_workers):
            if example is None:
                judge.end_epoch()
                continue
            name, seed = self.name(example), self._seed(reader, position, num_workers)
            try:
                sample = self.read(example, seed)
            except (BadItemError, OSError) as error:
                skipped[name] = str(error)
                judge.bad(name, str(error))
                continue
            judge.good()
            batch.append((sample, name, seed))
            if len(batch) == self.batch_size:
                samples, names, seeds = (list(column) for column in zip(*batch, strict=True))
                yield self.collate(samples, Origin(names, seeds, reader, position, skipped))
                batch, skipped = [], {}

    def _items(self, reader: int, num_workers: int) -> Iterator[tuple[dict[str, Any] | None, Position]]:
        """Yield this reader's items with the position after each, and `None` after each epoch."""
        readers = self.world_size * num_workers
        by_shard = self._by_shard(num_workers)
        source = self.source
        if by_shard and readers > 1:
            source = source.shard(num_shards=readers, index=self.rank * num_workers + reader)
        start = self.positions.get(reader, Position())
        epoch, total = start.epoch, start.total - start.index
        while True:
            index = 0
            # `iter` rather than `for`: it does not split the shards between workers once more.
            for index, examples in enumerate(self.shuffled(source, epoch).iter(batch_size=1), start=1):
                turn, rank = divmod(total + index - 1, self.world_size)
                mine = by_shard or (rank == self.rank and turn // self.batch_size % num_workers == reader)
                if mine and (epoch, index) > (start.epoch, start.index):
                    yield {name: column[0] for name, column in examples.items()}, Position(epoch, index, total + index)
            if index == 0:
                raise ValueError("the data set holds no items (a shard of it, if it is split); check path and split.")
            total += index
            epoch += 1
            yield None, Position(epoch, 0, total)

    def _by_shard(self, num_workers: int) -> bool:
        return self.max_items is None and self.source.num_shards % (self.world_size * num_workers) == 0

    def _seed(self, reader: int, position: Position, num_workers: int) -> int:
        """Return a number that no other sample has; whoever reads it has the same, unless shards are dealt out."""
        dealt = self.rank * num_workers + reader if self._by_shard(num_workers) else 0
        entropy = [self.seed, position.epoch, dealt, position.index]
        return int(np.random.SeedSequence(entropy).generate_state(1, np.uint64)[0] >> 1)

    def shuffled(self, source: datasets.IterableDataset, epoch: int) -> datasets.IterableDataset:
        """Return a source in the order of an epoch."""
        if self.shuffle_buffer_size <= 1:
            return source
        seed = int(np.random.SeedSequence([self.seed, epoch]).generate_state(1)[0])
        # One shard at a time: mixing several would read ahead in threads, and pause a second or more at each epoch.
        return source.shuffle(seed=seed, buffer_size=self.shuffle_buffer_size, max_buffer_input_shards=1)


class _Judge:
    """Counts what could not be used and says when it is too much."""

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


class StreamLoader(Generic[BatchT]):
    """Iterates over an `ItemStream` with worker processes and knows where it stands.

    Args:
        stream (`ItemStream`): What to read.
        num_workers (`int`): Worker processes; 0 reads in this one.
        pin_memory (`bool`): Put batches into page-locked memory, for a GPU.
    """

    def __init__(self, stream: ItemStream[Any, BatchT], *, num_workers: int = 0, pin_memory: bool = False) -> None:
        self.stream = stream
        self.num_workers = num_workers
        self.pin_memory = pin_memory
        self.batches = 0
        self.skipped: dict[str, str] = {}

    def __iter__(self) -> Iterator[BatchT]:
        loader = DataLoader(
            self.stream,
            batch_size=None,
            num_workers=self.num_workers,
            pin_memory=self.pin_memory,
            generator=torch.Generator(),  # not torch's own state, of which a resume would draw once more
        )
        for batch in loader:
            if isinstance(batch, TooManyBadItemsError):
                raise batch
            self.batches += 1
            origin = batch.origin
            self.stream.positions[origin.reader] = origin.position
            for name, reason in origin.skipped.items():
                if name not in self.skipped:
                    logger.warning("skipped an item that cannot be used, %s: %s", name, reason)
            self.skipped |= origin.skipped
            yield batch

    @property
    def epoch(self) -> int:
        """Passes through the data set that the furthest reader has finished."""
        return max((position.epoch for position in self.stream.positions.values()), default=0)

    @property
    def _readers(self) -> int:
        return max(self.num_workers, 1)

    def state_dict(self) -> dict[str, Any]:
        """Where the stream stands after the last batch that was taken, fit for JSON."""
        positions = {str(reader): asdict(position) for reader, position in self.stream.positions.items()}
        return {"batches": self.batches, "positions": positions, "layout": self._layout}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on after the batch that `state` was taken at; nothing that was read before is decoded again.

        Raises:
            ValueError: The run has other processes, workers, segments or seed: its batches would be others.
        """
        if state["layout"] != self._layout:
            raise ValueError(
                f"the checkpoint was made with {state['layout']}, this run has {self._layout}; resume with the same, "
                f"or start anew from its weights with `--pretrained_model_name_or_path`."
            )
        self.batches = state["batches"]
        self.stream.first_reader = self.batches % self._readers
        self.stream.positions = {int(reader): Position(**p) for reader, p in state["positions"].items()}

    @property
    def _layout(self) -> dict[str, int]:
        return {
            "num_processes": self.stream.world_size,
            "dataloader_num_workers": self.num_workers,
            "train_batch_size": self.stream.batch_size,
            "segment_length": self.stream.segment_length,
            "shuffle_buffer_size": self.stream.shuffle_buffer_size,
            "seed": self.stream.seed,
        }
