"""Encoding of a data set by two processes of one launch, compared with two independent runs.

Each run is `training/encode_latents.py` as a user calls it, with one thread per process. The sounds of `data/` are
copied into parquet shards. Two processes of a launch share all shards, two single runs get the same halves by name,
and one run gets all shards. Measured times are the encoding by the script's own clock, the whole command with imports,
and the CPU time of all its processes, which depends less on other load. The stored latents have to be equal, row by
row. `balance` is the mean of the halves' times over the longer one: the largest possible share of twice the speed.

    python benchmarks/catalogue_encoding.py --repeats 3
"""

import json
import os
import re
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import datasets
import torch
from command_line import Parser, count, main_or_exit
from measuring import print_table
from training_runs import REPO
from waveform_vae_vs_oobleck import CONFIGS

from hf_audio_vae import WaveformVAE

SCRIPT = str(REPO / "training/encode_latents.py")
TWO_PROCESSES = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
SHARDS = 8
LAUNCH, ALONE, ONE = "two processes of a launch", "two runs at the same time", "one process"
Rows = list[dict[str, object]]


def write_catalogue(folder: Path, copies: int) -> list[str]:
    """Write `copies` of the sounds of `data/` into shards of similar size, each copy with its own name."""
    features = datasets.Features({"audio": {"bytes": datasets.Value("binary"), "path": datasets.Value("string")}})
    sounds = sorted(path for path in (REPO / "data").rglob("*") if path.suffix in (".flac", ".ogg"))
    shards = [str(folder / f"{shard}.parquet") for shard in range(SHARDS)]
    for shard, path in enumerate(shards):
        items = [
            {"bytes": sound.read_bytes(), "path": f"{copy}_{sound.name}"}
            for copy in range(copies)
            for sound in sounds[(shard + copy) % SHARDS :: SHARDS]
        ]
        table = datasets.Dataset.from_dict({"audio": items}, features=features)
        table.cast_column("audio", datasets.Audio(decode=False)).to_parquet(path)
    return shards


def start(launcher: Sequence[str], model: WaveformVAE, shards: Sequence[str], folder: Path) -> subprocess.Popen[bytes]:
    """Start the script on a copy of the model, because it writes statistics there. The log is in `folder`, too."""
    model.save_pretrained(folder / "model")
    command = [sys.executable, *launcher, SCRIPT, "--model", str(folder / "model"), "--dataset_name", "parquet"]
    command += ["--data_files", json.dumps(list(shards)), "--output_dir", str(folder / "latents")]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "ACCELERATE_USE_CPU": "true"}
    with (folder / "log").open("w") as log:
        return subprocess.Popen(command, env=environment, cwd=REPO, stdout=log, stderr=subprocess.STDOUT)


def encoding_seconds(process: subprocess.Popen[bytes], folder: Path) -> float:
    """Wait for a run and return the seconds of encoding from its log."""
    process.wait()
    log = (folder / "log").read_text()
    found = re.search(r"s of sound in ([\d.]+) s", log)
    if process.returncode or found is None:
        raise SystemExit(f"encoding failed:\n{log}")
    return float(found[1])


def stored_rows(folders: Sequence[Path]) -> Rows:
    """Return all rows, sorted by name and start."""
    files = [str(path) for folder in folders for path in sorted((folder / "latents/data").glob("*.parquet"))]
    rows = list(datasets.load_dataset("parquet", data_files=files, split="train", cache_dir=str(folders[0] / "cache")))
    return sorted(rows, key=lambda row: (row["path"], row["start_sample"]))


def processor_seconds() -> float:
    """Return the CPU time of all finished commands."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def encode(way: str, model: WaveformVAE, shards: Sequence[str], folder: Path) -> tuple[list[float], list[float], Rows]:
    """Encode the catalogue in one way.

    Returns:
        Seconds of encoding of each run; encoding seconds of the longest run, command seconds and CPU seconds; rows.
    """
    halves = [shards[0::2], shards[1::2]] if way == ALONE else [shards]
    folders = [folder / str(half) for half in range(len(halves))]
    begin, used = time.perf_counter(), processor_seconds()
    launcher = TWO_PROCESSES if way == LAUNCH else []
    runs = [start(launcher, model, half, out) for half, out in zip(halves, folders, strict=True)]
    seconds = [encoding_seconds(run, out) for run, out in zip(runs, folders, strict=True)]
    times = [max(seconds), time.perf_counter() - begin, processor_seconds() - used]
    return seconds, times, stored_rows(folders)


def main(argv: Sequence[str]) -> None:
    """Parse the options and print the table."""
    parser = Parser(__doc__)
    parser.add_argument("--config", choices=CONFIGS, default="small")
    parser.add_argument("--copies", type=count, default=4, help="copies of the sounds of `data/` in the catalogue")
    parser.add_argument("--repeats", type=count, default=3)
    arguments = parser.parse_args(argv)
    datasets.disable_progress_bars()
    torch.manual_seed(0)
    model = WaveformVAE(**CONFIGS[arguments.config])
    measured: dict[str, list[list[float]]] = {LAUNCH: [], ALONE: [], ONE: []}
    balances = []
    with tempfile.TemporaryDirectory() as scratch:
        shards = write_catalogue(Path(scratch), arguments.copies)
        expected: Rows = []
        for repeat in range(arguments.repeats):
            for way in measured:
                halves, times, rows = encode(way, model, shards, Path(scratch) / f"{repeat} {way}")
                measured[way].append(times)
                if way == ALONE:
                    balances.append(statistics.mean(halves) / max(halves))
                expected = expected or rows
                if rows != expected:
                    raise SystemExit(f"the latents of {way} differ from those of {LAUNCH}.")
    print(f"{len(expected)} rows, equal in all runs; balance of the halves {statistics.median(balances):.3f}")
    medians = {
        way: [statistics.median(column) for column in zip(*runs, strict=True)] for way, runs in measured.items()
    }
    table: list[list[str | float]] = []
    for way, values in medians.items():
        ratios = [one / value for one, value in zip(medians[ONE], values, strict=True)]
        table.append([way, *(number for pair in zip(values, ratios, strict=True) for number in pair)])
    ratio = "speed / one process"
    print_table(["", "encoding s", ratio, "command s", ratio, "processor s", ratio], table)


if __name__ == "__main__":
    main_or_exit(main)
