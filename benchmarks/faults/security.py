"""Faults that run the code of a file, or read where they should not."""

import json
import os
import pickle
from collections.abc import Callable
from importlib import import_module
from pathlib import Path

import torch

from .codecs import PRETRAINED, Codec
from .registry import attempt, fault
from .runs import training


class Payload:
    """Make a folder when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = str(path)

    def __reduce__(self) -> tuple[Callable[..., object], tuple[str]]:
        return os.mkdir, (self.path,)


def executed(folder: Path, act: Callable[[], object]) -> str:
    """Return whether the payload ran."""
    said = attempt(act, lambda _: "loads")
    return f"the code {'RUNS' if (folder / 'ran').exists() else 'does not run'}; {said}"


STATES = ("optimizer.bin", "scheduler.bin", "random_states_0.pkl")


@fault("security", {f"accelerate {name}": name for name in STATES})
def checkpoint_pickle(folder: Path, peer: str) -> str:
    """Code in a file of a checkpoint."""
    accelerator, _, optimizer = training(folder)
    accelerator.prepare(torch.optim.lr_scheduler.ConstantLR(optimizer))
    path = Path(accelerator.save_state())
    torch.save(Payload(folder / "ran"), path / peer)
    return executed(folder, lambda: accelerator.load_state(str(path)))


@fault("security", PRETRAINED)
def model_pickle(folder: Path, peer: Codec) -> str:
    """Code in a model's `.bin` file, without a safetensors file."""
    peer.saved(folder)
    (folder / peer.weights).unlink()
    name = {"model.safetensors": "pytorch_model.bin"}.get(peer.weights, "diffusion_pytorch_model.bin")
    torch.save(Payload(folder / "ran"), folder / name)
    return executed(folder, lambda: peer.load(folder))


@fault("security", "dac DAC.load")
def package(folder: Path) -> str:
    """Code in a model's file."""
    with torch.package.PackageExporter(str(folder / "weights.pth")) as exporter:
        exporter.extern("**")
        exporter.save_pickle("DAC", "DAC.pth", Payload(folder / "ran"))
    return executed(folder, lambda: import_module("dac").DAC.load(str(folder / "weights.pth")))


@fault("security", "dac DACFile.load")
def codes_pickle(folder: Path) -> str:
    """Code in a file of codes."""
    header = b"{'descr': '|O', 'fortran_order': False, 'shape': (), }".ljust(117) + b"\n"
    array = b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header
    (folder / "a.dac").write_bytes(array + pickle.dumps(Payload(folder / "ran")))
    return executed(folder, lambda: import_module("dac").DACFile.load(folder / "a.dac"))


@fault("security", PRETRAINED)
def shard_outside(folder: Path, peer: Codec) -> str:
    """A shard index that names `../x`."""
    inside = folder / "model"
    inside.mkdir()
    state = peer.saved(inside)
    (inside / peer.weights).rename(folder / "x.safetensors")
    index = {"metadata": {"total_size": 0}, "weight_map": dict.fromkeys(state, "../x.safetensors")}
    (inside / f"{peer.weights}.index.json").write_text(json.dumps(index))
    return attempt(lambda: peer.load(inside), lambda _: "the file outside the folder is read")


@fault("security", "torch inductor")
def compiled_code(folder: Path) -> str:
    """The folder of compiled code."""
    name = import_module("torch._inductor.runtime.cache_dir_utils").default_cache_dir()
    return f"a fixed name in the folder that all users share: {name}"
