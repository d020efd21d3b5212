"""Read checkpoints of version 0.1, whose optimisers, schedules and random states accelerate pickled.

`torch.load` reads them with `weights_only=True`: numbers, containers and arrays, no other objects.
"""

import codecs
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from hf_audio_vae.models.torch_files import read_torch_file
from hf_audio_vae.training.learner import Learner
from hf_audio_vae.training.states import hexadecimal, numbered, read_network

ARRAYS = [np._core.multiarray._reconstruct, np.ndarray, np.dtype, np.dtypes.UInt32DType, codecs.encode]  # type: ignore[attr-defined]


def is_pickled(folder: Path) -> bool:
    """Whether a checkpoint is one of version 0.1."""
    return (folder / "optimizer.bin").is_file()


def read_pickled_learners(folder: Path, learners: Mapping[str, Learner], scaler: torch.amp.GradScaler | None) -> None:
    """Restore networks, optimisers and schedules, and the gradient scaler.

    Raises:
        ValueError: A file is damaged, or does not fit the run.
    """
    for number, learner in enumerate(learners.values()):
        read_network(folder / f"{numbered('model', number)}.safetensors", learner.module)
        learner.optimizer.load_state_dict(read_torch_file(folder / f"{numbered('optimizer', number)}.bin"))
        learner.lr_scheduler.load_state_dict(read_torch_file(folder / f"{numbered('scheduler', number)}.bin"))
    if scaler:
        scaler.load_state_dict(read_torch_file(folder / "scaler.pt"))


def pickled_random_states(folder: Path, process: int) -> dict[str, Any]:
    """Return the random states of a process in the form of `random_states`."""
    with torch.serialization.safe_globals(ARRAYS):
        states: dict[str, Any] = read_torch_file(folder / f"random_states_{process}.pkl")
    return {
        "python": states["random_state"],
        "numpy": states["numpy_random_seed"],
        "torch": hexadecimal(states["torch_manual_seed"]),
        "torch_cuda": [hexadecimal(state) for state in states.get("torch_cuda_manual_seed", [])],
    }
