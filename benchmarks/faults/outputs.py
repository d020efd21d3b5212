"""Faults of files that are written."""

import resource
from collections.abc import Callable
from importlib import import_module
from pathlib import Path

import soundfile
import torch
from safetensors.torch import save_file

from .codecs import dac, oobleck
from .data import write_clips
from .registry import attempt, fault, in_child
from .runs import training

LIMIT = 20_000
Writer = Callable[[Path], object]
FILES: dict[str, Writer] = {
    "soundfile": lambda folder: soundfile.write(folder / "file.wav", torch.zeros(50_000).numpy(), 16_000),
    "safetensors": lambda folder: save_file({"weight": torch.zeros(50_000)}, folder / "file.safetensors"),
}
WRITERS = FILES | {
    "torch save": lambda folder: torch.save({"weight": torch.zeros(50_000)}, folder / "file.pt"),
    "diffusers AutoencoderOobleck": lambda folder: oobleck().save_pretrained(folder),
    "accelerate save_state": lambda folder: training(folder, False)[0].save_state(str(folder)),
}


@fault("outputs", WRITERS)
def full_disk(folder: Path, peer: Writer) -> str:
    """The disk is full after 20 kB."""

    def write() -> str:
        resource.setrlimit(resource.RLIMIT_FSIZE, (LIMIT, LIMIT))
        happened = attempt(lambda: peer(folder))
        torn = [path.name for path in folder.iterdir() if path.stat().st_size >= LIMIT // 2]
        return f"{happened}; leaves {f'a part as `{torn[0]}`' if torn else 'no part'}"

    return in_child(write, seconds=20)


@fault("outputs", FILES)
def linked_output(folder: Path, peer: Writer) -> str:
    """The output is a link to another file."""
    other = folder / "other"
    other.write_text("other")
    for suffix in ("wav", "safetensors"):
        (folder / f"file.{suffix}").symlink_to(other)
    kept: Callable[[], bool] = lambda: other.read_bytes() == b"other"  # noqa: E731
    return attempt(lambda: peer(folder), lambda _: "replaces the link" if kept() else "overwrites the other file")


@fault("outputs", "dac encode")
def one_stem(folder: Path) -> str:
    """Two inputs with one stem."""
    encode = import_module("dac.utils.encode").encode
    write_clips(folder / "in", ["a.wav", "a.flac"])
    dac().save(folder / "weights.pth", package=False)
    options = {"output": str(folder / "out"), "weights_path": str(folder / "weights.pth"), "device": "cpu"}
    outputs: Callable[[], int] = lambda: len(list((folder / "out").iterdir()))  # noqa: E731
    return attempt(lambda: encode(str(folder / "in"), **options), lambda _: f"2 inputs, {outputs()} output")
