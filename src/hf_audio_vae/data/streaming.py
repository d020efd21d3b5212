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

import ctypes
import logging
import multiprocessing.connection
import os
import signal
import sys
import threading
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import KW_ONLY, asdict, dataclass, field
from functools import partial
from typing import Any, Generic, TypeVar

import datasets
import fsspec.asyn
import numpy as np
import torch
from torch.utils.data import DataLoader, IterableDataset, get_worker_info

MIN_ITEMS_TO_JUDGE = 20
PR_SET_PDEATHSIG = 1  # linux/prctl.h: the signal that a process gets when its parent ends

logger = logging.getLogger(__name__)


class TooManyBadItemsError(RuntimeError):
    """The share of items that cannot be used exceeds the limit."""


class DeadWorkerError(RuntimeError):
    """A worker process of the data loader has ended."""


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


def _begin_worker(parent: int, worker: int) -> None:
    """Let a worker live as long as its parent: not end at a signal to its group, and not wait for a killed parent.

    The loader sends SIGTERM to a worker that does not end, and the interpreter sends it once more.
    """
    if sys.platform == "linux":  # a worker may wait forever for a lock that a killed parent held
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda *_: signal.signal(signal.SIGTERM, signal.SIG_DFL))


class StreamLoader(Generic[BatchT]):
    """Iterates over an `ItemStream` with worker processes and tracks its position.

    Args:
        stream (`ItemStream`): Stream to read.
        num_workers (`int`): Number of worker processes; 0 reads in the main process.
        pin_memory (`bool`): Put batches into page-locked memory for a GPU.
    """

    def __init__(self, stream: ItemStream[Any, BatchT], *, num_workers: int = 0, pin_memory: bool = False) -> None:
        self.stream = stream
        self.num_workers = num_workers
        self.pin_memory = pin_memory
        self.batches = 0
        self.skipped: dict[str, str] = {}
        self.num_skipped = 0

    def __iter__(self) -> Iterator[BatchT]:
        loader = DataLoader(
            self.stream,
            batch_size=None,
            num_workers=self.num_workers,
            pin_memory=self.pin_memory,
            generator=torch.Generator(),  # the global generator would differ after a resume
            worker_init_fn=partial(_begin_worker, os.getpid()),
        )
        for batch in self._received(loader):
            if isinstance(batch, Exception):
                raise batch
            self.batches += 1
            origin, epoch = batch.origin, self.epoch
            self.stream.positions[origin.reader] = origin.position
            for name, reason in origin.skipped.items():
                if name not in self.skipped:
                    logger.warning("skipped an item that cannot be used, %s: %s", name, reason)
            self.skipped |= origin.skipped
            self.num_skipped += origin.num_skipped
            if self.num_skipped and self.epoch > epoch:
                logger.warning("%d items could not be used in %d epochs of this run", self.num_skipped, self.epoch)
            yield batch

    def _received(self, loader: DataLoader[BatchT | Exception]) -> Iterator[BatchT | Exception]:
        """Yield what the loader yields; raise `DeadWorkerError` if a worker has ended."""
        others = multiprocessing.active_children()
        iterator = iter(loader)
        workers = [process for process in multiprocessing.active_children() if process not in others]
        # torch raises an error for a dead worker in the middle of any statement. Without its handler, the loader
        # notices it within seconds, between two batches.
        if workers and threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        try:
            yield from iterator
        except (RuntimeError, EOFError, OSError) as error:
            multiprocessing.connection.wait([worker.sentinel for worker in workers], timeout=1)
            if dead := [worker for worker in workers if not worker.is_alive()]:
                code = dead[0].exitcode or 0
                cause = signal.Signals(-code).name if code < 0 else f"exit code {code}"
                raise DeadWorkerError(
                    f"a worker of the data loader (process {dead[0].pid}) ended with {cause}; if it was killed for "
                    f"memory, lower `--dataloader_num_workers` or `--shuffle_buffer_size`."
                ) from error
            raise

    @property
    def epoch(self) -> int:
        """Number of epochs finished by the most advanced reader."""
        return max((position.epoch for position in self.stream.positions.values()), default=0)

    @property
    def _readers(self) -> int:
        return max(self.num_workers, 1)

    def state_dict(self) -> dict[str, Any]:
        """Position of the stream after the last batch taken, JSON-serialisable."""
        positions = {str(reader): asdict(position) for reader, position in self.stream.positions.items()}
        return {"batches": self.batches, "positions": positions, "layout": self._layout}

    def load_state_dict(self, state: dict[str, Any], *, accept_changes: bool = False) -> None:
        """Continue after the batch of `state`; earlier items are not decoded again.

        With another number of workers the batches are the same if items are dealt by index and none was skipped.
        Otherwise the next epoch begins.

        Args:
            state (`dict`): From `state_dict`.
            accept_changes (`bool`): Begin the next epoch if the batches would differ.

        Raises:
            ValueError: The number of processes, the crops or the seed differ, so the batches would differ.
        """
        theirs, ours = state["layout"], self._layout
        positions = {int(reader): Position(**p) for reader, p in state["positions"].items()}
        changed = {name for name, value in ours.items() if theirs.get(name, value) != value}
        if changed - {"dataloader_num_workers"} and not accept_changes:
            raise ValueError(
                f"the checkpoint was made with {theirs}, but this run has {ours}; use the same values, or add "
                f"`--accept_changes` to begin an epoch with these."
            )
        self.batches = state["batches"]
        if changed and positions:
            last = max(positions.values(), key=lambda position: position.total)
            readers = max(theirs["dataloader_num_workers"], 1)
            if changed != {"dataloader_num_workers"} or not self._same_items(last, readers):
                names = ", ".join(sorted(changed))
                logger.warning("other %s than in the checkpoint: a new epoch of the data begins", names)
                self.batches, last = 0, Position(last.epoch + 1)
            positions = dict.fromkeys(range(self._readers), last)
        self.stream.first_reader = self.batches % self._readers
        self.stream.positions = positions

    def _same_items(self, last: Position, readers: int) -> bool:
        """Whether the items before the last position are those of the batches so far, for any number of readers."""
        by_index = not any(self.stream.by_shard(count) for count in (readers, self._readers))
        local_items = self.batches * self.stream.batch_size  # of this process, if it skipped none
        return by_index and last.total == (local_items - 1) * self.stream.world_size + self.stream.rank + 1

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
