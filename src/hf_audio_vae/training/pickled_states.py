"""Read checkpoints of version 0.1, whose optimisers, schedules and random states accelerate pickled.

`torch.load` reads them with `weights_only=True`: numbers, containers and arrays, no other objects.
"""

import codecs
import random
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch

from hf_audio_vae.models.torch_files import read_torch_file
from hf_audio_vae.training.learner import Learner
from hf_audio_vae.training.states import numbered, read_network

ARRAYS = [np._core.multiarray._reconstruct, np.ndarray, np.dtype, np.dtypes.UInt32DType, codecs.encode]  # type: ignore[attr-defined]


def is_pickled(folder: Path) -> bool:
    """Whether a checkpoint is one of version 0.1."""
    return (folder / "optimizer.bin").is_file()


def read_pickled(
    folder: Path, learners: Mapping[str, Learner], scaler: torch.amp.GradScaler | None, process: int
) -> None:
    """Restore learners, gradient scaler and random states.

    Raises:
        ValueError: A file is damaged or does not fit.
    """
    for number, learner in enumerate(learners.values()):
        read_network(folder / f"{numbered('model', number)}.safetensors", learner.module)
        learner.optimizer.load_state_dict(read_torch_file(folder / f"{numbered('optimizer', number)}.bin"))
        learner.lr_scheduler.load_state_dict(read_torch_file(folder / f"{numbered('scheduler', number)}.bin"))
    if scaler:
        scaler.load_state_dict(read_torch_file(folder / "scaler.pt"))
    with torch.serialization.safe_globals(ARRAYS):
        states = read_torch_file(folder / f"random_states_{process}.pkl")
    random.setstate(states["random_state"])  # type: ignore[arg-type]
    np.random.set_state(states["numpy_random_seed"])  # type: ignore[arg-type]
    torch.set_rng_state(states["torch_manual_seed"])  # type: ignore[arg-type]
    if torch.cuda.is_available() and "torch_cuda_manual_seed" in states:
        torch.cuda.set_rng_state_all(states["torch_cuda_manual_seed"])  # type: ignore[arg-type]
