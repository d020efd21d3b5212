"""Worker processes that read an `ItemStream`, and the position of the stream."""

import atexit
import ctypes
import logging
import multiprocessing.connection
import os
import signal
import sys
import threading
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict
from functools import partial
from typing import Any, Generic

import torch
from torch.utils.data import DataLoader

from hf_audio_vae.data.streaming import BatchT, ItemStream, Position

PR_SET_PDEATHSIG = 1  # linux/prctl.h: the signal that a process gets when its parent ends

logger = logging.getLogger(__name__)


class DeadWorkerError(RuntimeError):
    """A worker process of the data loader has ended."""


def _begin_worker(parent: int, worker: int) -> None:
    """Tie a worker to its parent: ignore signals to the process group, and end if the parent is killed.

    The first SIGTERM is ignored, since it may be one to the group: then, the run still needs batches for its step.
    """
    if sys.platform == "linux":  # a worker may wait forever for a lock that a killed parent held
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda *_: signal.signal(signal.SIGTERM, signal.SIG_DFL))


def _kill(workers: Iterable[multiprocessing.process.BaseProcess]) -> None:
    for worker in workers:
        worker.kill()


def _ended(workers: Sequence[multiprocessing.process.BaseProcess]) -> list[multiprocessing.process.BaseProcess]:
    """Workers that have ended or are about to."""
    if not workers:
        return []
    sentinels = multiprocessing.connection.wait([worker.sentinel for worker in workers], timeout=5)
    ended = [worker for worker in workers if worker.sentinel in sentinels]
    for worker in ended:
        worker.join(
            timeout=5
        )  # a process closes its files, which the sentinel shows, before its exit code can be read
    return ended


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
                    logger.warning("skipped an item that cannot be used: %s: %s", name, reason)
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
        # The interpreter sends one SIGTERM to the workers of a loader that is still referenced, and waits for them.
        end_workers = partial(_kill, workers)
        atexit.register(end_workers)
        try:
            yield from iterator
        except (RuntimeError, EOFError, OSError) as error:
            if dead := _ended(workers):
                code = dead[0].exitcode or 0
                cause = signal.Signals(-code).name if code < 0 else f"exit code {code}"
                raise DeadWorkerError(
                    f"a worker of the data loader (process {dead[0].pid}) ended with {cause}; if it was killed for "
                    f"memory, lower `--dataloader_num_workers` or `--shuffle_buffer_size`."
                ) from error
            raise
        finally:
            atexit.unregister(end_workers)

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
                logger.warning("different from the checkpoint: %s; a new epoch of the data begins", names)
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
