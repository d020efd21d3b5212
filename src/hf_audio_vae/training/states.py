"""States of the networks, optimisers, schedules and random generators of a run, as safetensors and JSON."""

import json
import random
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate.utils import extract_model_from_parallel
from safetensors import SafetensorError
from safetensors.torch import load_file, load_model, save_file, save_model
from torch import Tensor, nn

from hf_audio_vae.training.learner import Learner

LEARNERS_FILE = "learners.json"


def numbered(stem: str, number: int) -> str:
    """Return the name of the file of a learner: `model`, `model_1`, ..."""
    return f"{stem}_{number}" if number else stem


def write_learners(folder: Path, learners: Mapping[str, Learner], scaler: torch.amp.GradScaler | None) -> None:
    """Write networks, optimisers and schedules, and the gradient scaler if there is one.

    Files: `model.safetensors` and `optimizer.safetensors` of the first learner, `model_1.safetensors` and
    `optimizer_1.safetensors` of the second, and `learners.json` with all other values.
    """
    values: dict[str, Any] = {"scaler": scaler.state_dict() if scaler else None}
    for number, (name, learner) in enumerate(learners.items()):
        save_model(whole(learner.module), str(folder / f"{numbered('model', number)}.safetensors"))
        state = learner.optimizer.state_dict()
        tensors, others = _split(state["state"])
        save_file(tensors, folder / f"{numbered('optimizer', number)}.safetensors")
        values[name] = {
            "param_groups": state["param_groups"],
            "state": others,
            "scheduler": learner.lr_scheduler.state_dict(),
        }
    (folder / LEARNERS_FILE).write_text(json.dumps(values))


def read_learners(folder: Path, learners: Mapping[str, Learner], scaler: torch.amp.GradScaler | None) -> None:
    """Restore what `write_learners` wrote.

    Raises:
        ValueError: The networks or optimisers of the checkpoint do not fit those of the run.
    """
    values = json.loads((folder / LEARNERS_FILE).read_text())
    for number, (name, learner) in enumerate(learners.items()):
        if name not in values:
            raise ValueError(
                f"{folder} has no {name}; start a new run from its weights with "
                f"`--pretrained_model_name_or_path {folder} --pretrained_subfolder ema`."
            )
        read_network(folder / f"{numbered('model', number)}.safetensors", learner.module)
        state = {index: dict(entries) for index, entries in values[name]["state"].items()}
        for key, tensor in load_file(folder / f"{numbered('optimizer', number)}.safetensors").items():
            index, _, entry = key.partition(".")
            state.setdefault(index, {})[entry] = tensor
        groups = [
            {key: tuple(value) if key == "betas" else value for key, value in group.items()}
            for group in values[name]["param_groups"]
        ]
        for group, own in zip(groups, learner.optimizer.param_groups, strict=True):
            group["fused"] = own["fused"]  # before the load, which sends the step counts to the kernel's device
        learner.optimizer.load_state_dict(
            {"state": {int(index): entries for index, entries in state.items()}, "param_groups": groups}
        )
        learner.lr_scheduler.load_state_dict(values[name]["scheduler"])
    if scaler and values["scaler"]:
        scaler.load_state_dict(values["scaler"])


def read_network(file: Path, module: nn.Module) -> None:
    """Load the weights of a network in training.

    Raises:
        ValueError: The file is damaged, or its keys or shapes differ from the network's.
    """
    try:
        load_model(whole(module), file)
    except (RuntimeError, SafetensorError) as error:
        raise ValueError(f"{file} does not fit the networks of this run: {' '.join(str(error).split())}") from error


def whole(module: nn.Module) -> nn.Module:
    """Return a network without the wrappers for several processes and for compilation."""
    return extract_model_from_parallel(module, keep_torch_compile=False)


def _split(state: Mapping[int, Mapping[str, Any]]) -> tuple[dict[str, Tensor], dict[int, dict[str, Any]]]:
    """Return the tensors of an optimiser by `{parameter}.{name}`, and its other values."""
    tensors: dict[str, Tensor] = {}
    others: dict[int, dict[str, Any]] = {}
    for index, entries in state.items():
        for name, value in entries.items():
            if isinstance(value, Tensor):
                tensors[f"{index}.{name}"] = value.contiguous()
            else:
                others.setdefault(index, {})[name] = value
    return tensors, others


def random_states() -> dict[str, Any]:
    """Return the states of all random generators of this process, JSON-serializable."""
    numpy_state: Any = np.random.get_state(legacy=False)
    return {
        "python": random.getstate(),
        "numpy": numpy_state | {"state": {**numpy_state["state"], "key": numpy_state["state"]["key"].tolist()}},
        "torch": hexadecimal(torch.get_rng_state()),
        "torch_cuda": [hexadecimal(state) for state in torch.cuda.get_rng_state_all()],
    }


def set_random_states(states: Mapping[str, Any]) -> None:
    """Restore the states of the random generators."""
    version, numbers, gauss = states["python"]
    random.setstate((version, tuple(numbers), gauss))
    np.random.set_state(states["numpy"])
    torch.set_rng_state(_tensor(states["torch"]))
    if len(states["torch_cuda"]) == torch.cuda.device_count():
        torch.cuda.set_rng_state_all([_tensor(state) for state in states["torch_cuda"]])


def hexadecimal(state: Tensor) -> str:
    """Return the bytes of a random state as text."""
    return state.numpy().tobytes().hex()


def _tensor(text: str) -> Tensor:
    return torch.frombuffer(bytearray.fromhex(text), dtype=torch.uint8)
