import itertools
import logging
import multiprocessing
import os
import select
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import datasets
import pyarrow
import pyarrow.parquet
import pytest
import torch

from hf_audio_vae.data import (
    CropStream,
    EncodedAudio,
    StreamLoader,
    TooManyBadItemsError,
    load_audio_stream,
    stream_loader,
)
from hf_audio_vae.data.stream_loader import DeadWorkerError
from tests.data.sounds import RATE, encoded

FILES = 23


def stream_of(source: datasets.IterableDataset, **options) -> CropStream:
    defaults = {"crop_length": 100, "batch_size": 4, "seed": 5, "shuffle_buffer_size": 10}
    return CropStream(source, sampling_rate=RATE, audio_channels=1, **(defaults | options))


def sharded(tmp_path: Path, shards: int) -> datasets.IterableDataset:
    audio = pyarrow.struct({"bytes": pyarrow.binary(), "path": pyarrow.string()})
    (tmp_path / "sharded").mkdir()
    for shard in range(shards):
        rows = [{"bytes": encoded(i / 100), "path": f"{i}.wav"} for i in range(shard, FILES, shards)]
        table = pyarrow.table({"audio": pyarrow.array(rows, audio)})
        pyarrow.parquet.write_table(table, tmp_path / "sharded" / f"train-{shard}.parquet")
    return load_audio_stream(str(tmp_path / "sharded"), audio_column="audio")


def items_of(waveform: torch.Tensor) -> list[int]:
    return [round(100 * crop[0, 0].item()) for crop in waveform]


def read(loader: StreamLoader, batches: int) -> list[torch.Tensor]:
    return [batch.waveform for batch in itertools.islice(loader, batches)]


@pytest.mark.parametrize("num_workers", [0, 3])
@pytest.mark.parametrize("world_size", [1, 2])
def test_an_epoch_has_each_item_once_over_processes_and_workers(
    folder: Path, world_size: int, num_workers: int
) -> None:
    epochs = 4  # 4 * 23 items are a whole number of batches of 4
    seen: Counter[int] = Counter()
    for rank in range(world_size):
        stream = stream_of(load_audio_stream(str(folder)), rank=rank, world_size=world_size)
        batches = epochs * FILES // 4 // world_size + (rank < epochs * FILES // 4 % world_size)
        for waveform in read(StreamLoader(stream, num_workers=num_workers), batches):
            seen.update(items_of(waveform))
    # An odd number of batches ends in the middle of a global one: one process is a batch ahead at the seam.
    assert sum(seen.values()) == epochs * FILES
    assert set(seen) == set(range(FILES))
    assert all(abs(count - epochs) <= (world_size - 1) for count in seen.values())


def test_one_process_sees_each_item_once_in_every_epoch(folder: Path) -> None:
    loader = StreamLoader(stream_of(load_audio_stream(str(folder)), batch_size=1), num_workers=2)
    order = [items_of(waveform)[0] for waveform in read(loader, 3 * FILES)]
    epochs = [order[i * FILES : (i + 1) * FILES] for i in range(3)]
    assert all(sorted(epoch) == list(range(FILES)) for epoch in epochs)
    assert epochs[0] != epochs[1] != epochs[2], "each epoch is shuffled anew"


@pytest.mark.parametrize(("shards", "world_size", "num_workers"), [(6, 1, 3), (6, 2, 3), (8, 2, 2)])
def test_readers_of_shards_share_no_item(tmp_path: Path, shards: int, world_size: int, num_workers: int) -> None:
    source = sharded(tmp_path, shards)
    assert source.num_shards == shards
    owners: dict[int, set[tuple[int, int]]] = {}
    for rank in range(world_size):
        stream = stream_of(source, rank=rank, world_size=world_size, batch_size=1)
        for batch in itertools.islice(StreamLoader(stream, num_workers=num_workers), 40):
            owners.setdefault(items_of(batch.waveform)[0], set()).add((rank, batch.origin.reader))
    assert set(owners) == set(range(FILES)), "no item is lost"
    assert all(len(readers) == 1 for readers in owners.values()), "no item has two readers"


@pytest.mark.parametrize(("shards", "world_size", "num_workers"), [(3, 2, 1), (3, 1, 2), (5, 2, 2)])
def test_shards_that_do_not_divide_weigh_all_items_alike(
    tmp_path: Path, shards: int, world_size: int, num_workers: int
) -> None:
    source = sharded(tmp_path, shards)
    counts: Counter[int] = Counter()
    for rank in range(world_size):
        stream = stream_of(source, rank=rank, world_size=world_size, batch_size=1)
        for waveform in read(StreamLoader(stream, num_workers=num_workers), 4 * FILES // world_size):
            counts.update(items_of(waveform))
    assert set(counts.values()) == {4}


@pytest.mark.parametrize(("world_size", "num_workers"), [(1, 1), (2, 2)])
def test_a_limit_means_the_first_items_whoever_reads_them(tmp_path: Path, world_size: int, num_workers: int) -> None:
    source = sharded(tmp_path, 2)
    seen: set[int] = set()
    for rank in range(world_size):
        stream = stream_of(source, rank=rank, world_size=world_size, batch_size=1, max_items=3)
        for waveform in read(StreamLoader(stream, num_workers=num_workers), 12):
            seen.update(items_of(waveform))
    assert seen == {0, 2, 4}, "the first three of the first shard"


@pytest.mark.parametrize("num_workers", [1, 2, 3])
def test_batches_do_not_depend_on_workers(folder: Path, num_workers: int) -> None:
    source = load_audio_stream(str(folder))
    alone = read(StreamLoader(stream_of(source)), 13)
    together = read(StreamLoader(stream_of(source), num_workers=num_workers), 13)
    assert all(torch.equal(a, b) for a, b in zip(alone, together, strict=True))


def test_two_processes_share_the_batch_of_one(folder: Path) -> None:
    source = load_audio_stream(str(folder))
    whole = read(StreamLoader(stream_of(source, batch_size=8)), 9)
    halves = [read(StreamLoader(stream_of(source, rank=rank, world_size=2)), 9) for rank in range(2)]
    for one, *two in zip(whole, *halves, strict=True):
        assert sorted(items_of(one)) == sorted(items_of(torch.cat(two)))


@pytest.mark.parametrize("num_workers", [0, 1, 3])
@pytest.mark.parametrize("shards", [1, 6])
def test_resume_continues_at_the_next_batch(tmp_path: Path, num_workers: int, shards: int) -> None:
    source = sharded(tmp_path, shards)
    straight = read(StreamLoader(stream_of(source), num_workers=num_workers), 20)
    for stop in (1, 7, 13):
        first = StreamLoader(stream_of(source), num_workers=num_workers)
        read(first, stop)
        second = StreamLoader(stream_of(source), num_workers=num_workers)
        second.load_state_dict(first.state_dict())
        rest = read(second, 20 - stop)
        assert all(torch.equal(a, b) for a, b in zip(straight[stop:], rest, strict=True))


@pytest.mark.parametrize("changes", [{"seed": 1}, {"batch_size": 2}, {"shuffle_buffer_size": 7}])
def test_resume_with_other_batches_is_refused_unless_they_are_accepted(folder: Path, changes: dict[str, int]) -> None:
    source = load_audio_stream(str(folder))
    first = StreamLoader(stream_of(source))
    read(first, 2)
    second = StreamLoader(stream_of(source, **changes))
    with pytest.raises(ValueError, match="was made with .*; use the same values, or add `--accept_changes`"):
        second.load_state_dict(first.state_dict())
    second.load_state_dict(first.state_dict(), accept_changes=True)
    order = [item for waveform in read(second, 24 // second.stream.batch_size) for item in items_of(waveform)]
    assert sorted(order[:FILES]) == list(range(FILES)), "a new epoch"


@pytest.mark.parametrize(("before", "after"), [(2, 0), (0, 3), (3, 2)])
def test_another_number_of_workers_continues_with_the_same_batches(
    folder: Path, caplog: pytest.LogCaptureFixture, before: int, after: int
) -> None:
    source = load_audio_stream(str(folder))
    straight = read(StreamLoader(stream_of(source)), 20)
    for stop in (1, 6, 13):
        first = StreamLoader(stream_of(source), num_workers=before)
        read(first, stop)
        second = StreamLoader(stream_of(source), num_workers=after)
        second.load_state_dict(first.state_dict())
        assert all(torch.equal(a, b) for a, b in zip(straight[stop:], read(second, 20 - stop), strict=True))
    assert not caplog.messages


@pytest.mark.parametrize("shards", [1, 6])
def test_another_number_of_workers_begins_an_epoch_where_batches_would_differ(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, shards: int
) -> None:
    source = sharded(tmp_path, shards)
    first = StreamLoader(stream_of(source, batch_size=1), num_workers=2)
    read(first, 9)
    state = first.state_dict()
    if shards == 1:  # as after a skipped item
        state["batches"] -= 1
    second = StreamLoader(stream_of(source, batch_size=1), num_workers=3)
    with caplog.at_level(logging.WARNING):
        second.load_state_dict(state)
    assert caplog.messages == ["different from the checkpoint: dataloader_num_workers; a new epoch of the data begins"]
    order = [item for waveform in read(second, FILES) for item in items_of(waveform)]
    assert sorted(order) == list(range(FILES))


@pytest.mark.parametrize("num_workers", [0, 2])
def test_a_data_set_of_one_item_fills_larger_batches(tmp_path: Path, num_workers: int) -> None:
    (tmp_path / "0.wav").write_bytes(encoded(0.0))
    loader = StreamLoader(stream_of(load_audio_stream(str(tmp_path)), batch_size=4), num_workers=num_workers)
    batches = list(itertools.islice(loader, 3))
    assert [items_of(batch.waveform) for batch in batches] == 3 * [[0, 0, 0, 0]]
    assert len({seed for batch in batches for seed in batch.seeds}) == 12


@pytest.mark.slow
def test_a_killed_worker_is_an_error_with_its_cause(folder: Path) -> None:
    batches = iter(StreamLoader(stream_of(load_audio_stream(str(folder))), num_workers=2))
    next(batches)
    for worker in multiprocessing.active_children():
        os.kill(worker.pid, signal.SIGKILL)
    with pytest.raises(DeadWorkerError, match="ended with SIGKILL; .*lower `--dataloader_num_workers`") as raised:
        read(batches, 100)
    assert "\n" not in str(raised.value)


def lingering_end() -> None:
    """Close all files, as a process does when it is killed, and end a little later."""
    os.closerange(3, 1024)
    time.sleep(0.5)
    os.kill(os.getpid(), signal.SIGKILL)


class LoaderOfADyingWorker:
    def __init__(self, *_args, **_options) -> None:
        pass

    def __iter__(self):
        multiprocessing.Process(target=lingering_end).start()
        return self

    def __next__(self):
        raise ConnectionResetError("Connection reset by peer")


def test_a_worker_that_has_closed_its_files_and_not_ended_yet_is_dead(folder: Path, monkeypatch) -> None:
    monkeypatch.setattr(stream_loader, "DataLoader", LoaderOfADyingWorker)
    with pytest.raises(DeadWorkerError, match="ended with SIGKILL"):
        next(iter(StreamLoader(stream_of(load_audio_stream(str(folder))), num_workers=1)))


def test_workers_outlive_the_signals_of_their_group(folder: Path) -> None:
    batches = iter(StreamLoader(stream_of(load_audio_stream(str(folder))), num_workers=2))
    read(batches, 2)  # one of each worker: both have begun
    workers = multiprocessing.active_children()
    for number in (signal.SIGINT, signal.SIGTERM):
        for worker in workers:
            os.kill(worker.pid, number)
    read(batches, 30)
    assert all(worker.is_alive() for worker in workers)


def test_workers_of_a_killed_process_end(folder: Path) -> None:
    reading, writing = os.pipe()
    if (parent := os.fork()) == 0:
        batches = iter(StreamLoader(stream_of(load_audio_stream(str(folder))), num_workers=2))
        next(batches)
        os.write(writing, b"read")
        signal.pause()
    os.close(writing)
    assert os.read(reading, 4) == b"read"
    os.kill(parent, signal.SIGKILL)
    os.waitpid(parent, 0)
    ready, _, _ = select.select([reading], [], [], 2)  # the pipe ends with the last process that has it
    assert ready


@pytest.mark.parametrize(("shards", "num_workers"), [(1, 0), (6, 3)])
def test_seeds_differ_between_crops_epochs_and_readers(tmp_path: Path, shards: int, num_workers: int) -> None:
    source = sharded(tmp_path, shards)
    seeds: list[int] = []
    for rank in range(2 if shards > 1 else 1):
        stream = stream_of(source, rank=rank, world_size=2 if shards > 1 else 1)
        for batch in itertools.islice(StreamLoader(stream, num_workers=num_workers), 23):
            seeds += batch.seeds
    assert len(set(seeds)) == len(seeds)


def test_seeds_differ_between_readers_of_different_shards(tmp_path: Path) -> None:
    source = sharded(tmp_path, 6)
    batches = [
        batch
        for rank in range(2)
        for batch in itertools.islice(StreamLoader(stream_of(source, rank=rank, world_size=2), num_workers=3), 9)
    ]
    seeds = [seed for batch in batches for seed in batch.seeds]
    assert len(set(seeds)) == len(seeds)


def test_the_seconds_of_a_batch_are_those_of_all_of_its_crops(folder: Path) -> None:
    (batch,) = itertools.islice(StreamLoader(stream_of(load_audio_stream(str(folder)), batch_size=3)), 1)
    assert batch.seconds == pytest.approx(3 * 100 / RATE)


@pytest.mark.parametrize("num_workers", [0, 2])
def test_bad_items_are_skipped_and_named_once(
    folder: Path, caplog: pytest.LogCaptureFixture, num_workers: int
) -> None:
    (folder / "07.wav").write_bytes(b"not audio")
    (folder / "13.wav").write_bytes(encoded(float("nan")))
    source = load_audio_stream(str(folder))
    loader = StreamLoader(stream_of(source, batch_size=1, max_bad_share=0.3), num_workers=num_workers)
    with caplog.at_level(logging.WARNING):
        order = [items_of(waveform)[0] for waveform in read(loader, 3 * 21)]
    assert Counter(order) == {i: 3 for i in range(FILES) if i not in (7, 13)}
    named = [record.getMessage() for record in caplog.records]
    assert sorted(Path(name).name for name in loader.skipped) == ["07.wav", "13.wav"]
    assert sum("07.wav" in message for message in named) == 1
    assert sum("13.wav" in message and "NaN" in message for message in named) == 1


@pytest.mark.parametrize("num_workers", [0, 2])
def test_too_many_bad_items_end_the_run(folder: Path, num_workers: int) -> None:
    for i in range(0, FILES, 2):
        (folder / f"{i:02d}.wav").write_bytes(b"not audio")
    loader = StreamLoader(stream_of(load_audio_stream(str(folder))), num_workers=num_workers)
    with pytest.raises(TooManyBadItemsError, match=r"cannot be used, more than `max_bad_share` 0\.1"):
        read(loader, 40)


def test_a_share_of_bad_items_exactly_at_the_limit_goes_on_and_one_more_ends_the_run(folder: Path) -> None:
    for i in range(20, FILES):
        (folder / f"{i:02d}.wav").unlink()
    in_order = {"batch_size": 1, "shuffle_buffer_size": 1, "max_bad_share": 0.1}
    for i in (18, 19):  # the 19th and the 20th item
        (folder / f"{i}.wav").write_bytes(b"not audio")
    assert len(read(StreamLoader(stream_of(load_audio_stream(str(folder)), **in_order)), 19)) == 19
    (folder / "17.wav").write_bytes(b"not audio")
    with pytest.raises(TooManyBadItemsError, match="3 of 20 items"):
        read(StreamLoader(stream_of(load_audio_stream(str(folder)), **in_order)), 18)


def test_a_data_set_of_bad_items_ends_the_run(folder: Path) -> None:
    for path in folder.iterdir():
        path.write_bytes(b"not audio")
    with pytest.raises(TooManyBadItemsError):
        read(StreamLoader(stream_of(load_audio_stream(str(folder)))), 1)


def test_an_empty_data_set_is_an_error() -> None:
    features = datasets.Features({"audio": EncodedAudio()})
    empty = datasets.IterableDataset.from_generator(lambda: iter(()), features=features)
    with pytest.raises(ValueError, match="holds no items"):
        read(StreamLoader(stream_of(empty)), 1)


HELD_AT_EXIT = """
import sys
from hf_audio_vae.data import CropStream, StreamLoader, load_audio_stream
source = load_audio_stream(sys.argv[1])
stream = CropStream(source, crop_length=100, batch_size=1, seed=0, sampling_rate=8000, audio_channels=1)
batches = iter(StreamLoader(stream, num_workers=2))
next(batches)  # still referenced when the interpreter ends
"""


@pytest.mark.slow
def test_a_loader_that_is_held_at_the_end_of_a_process_does_not_keep_it(folder: Path) -> None:
    subprocess.run([sys.executable, "-c", HELD_AT_EXIT, str(folder)], check=True, timeout=100)
