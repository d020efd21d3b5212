"""Real runs of the training script, as small as they come."""

import contextlib
import importlib.util
import io
import logging
import os
import random
import signal
import subprocess
import sys
import time
import traceback
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from types import ModuleType

import numpy as np
import psutil
import pytest
import torch
import yaml
from accelerate.logging import get_logger
from accelerate.state import AcceleratorState, GradientState
from safetensors.torch import load_file

from hf_audio_vae.runtime.snake_cpu import allow_compiled_kernels
from hf_audio_vae.training.script import main_or_exit
from tests.hub import card_errors

REPO = Path(__file__).parents[2]
SCRIPT = str(REPO / "training/train_autoencoder.py")
WEIGHTS = "diffusion_pytorch_model.safetensors"
LOGGERS = ("hf_audio_vae", "__main__")
TWO_PROCESSES = ("-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2")

RECIPE = {
    "seed": 3,
    "model": {
        "encoder_hidden_size": 4,
        "downsampling_ratios": [2, 3],
        "channel_multiples": [1, 2],
        "decoder_channels": 4,
        "decoder_input_channels": 2,
        "audio_channels": 1,
        "sampling_rate": 8000,
    },
    "dataset_name": str(REPO / "data/train"),
    "validation_dataset_name": str(REPO / "data/held_out"),
    "segment_seconds": 0.1,
    "dataloader_num_workers": 0,
    "max_validation_samples": 2,
    "validation_seconds": 0.2,
    "num_validation_media": 1,
    "losses": {"waveform_l1": {}, "multi_resolution_stft": {"window_lengths": [128, 32]}},
    "weights": {
        "waveform_l1": 1.0,
        "multi_resolution_stft": 1.0,
        "kl": {"schedule": "linear", "weight": 1e-4, "steps": 4},
    },
    "train_batch_size": 4,
    "max_train_steps": 8,
    "learning_rate": 3e-3,
    "lr_scheduler": "cosine",
    "checkpointing_steps": 4,
    "validation_steps": 100,
    "logging_steps": 2,
    "report_to": "none",
}

# Everything at once: discriminators that start late and learn every other step, balanced losses, a controlled KL.
GAME = {
    "adversarial": {
        "discriminators": {
            "multi_period": {"hidden_channels": 2, "periods": [2, 3]},
            "multi_scale_stft": {"hidden_channels": 4, "window_lengths": [128, 64]},
        },
        # Under hinge a score's bias has no gradient but rounding errors, and Adam makes whole steps of those.
        "loss": "least_squares",
        "start_step": 2,
        "update_interval": 2,
        "learning_rate": 3e-4,
    },
    "balancer": {"decay": 0.9},
    "weights": {
        "waveform_l1": 1.0,
        "multi_resolution_stft": 1.0,
        "adversarial": 0.5,
        "feature_matching": 0.5,
        "kl": {"target_bits_per_second": 1000},
    },
}


def write_recipe(folder: Path, **changes: object) -> Path:
    path = folder / "recipe.yaml"
    path.write_text(yaml.safe_dump(RECIPE | changes))
    return path


def command(recipe: Path, output_dir: Path, *options: str, launcher: tuple[str, ...] = ()) -> list[str]:
    return [sys.executable, *launcher, SCRIPT, "--config", str(recipe), "--output_dir", str(output_dir), *options]


def environment() -> dict[str, str]:
    """One thread a process: results then do not depend on how a sum is split between threads."""
    return os.environ | {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "ACCELERATE_USE_CPU": "true"}


def run(arguments: list[str]) -> subprocess.CompletedProcess[str]:
    """Run a script to its end: in this process, or with a launcher in its own ones.

    Starting Python and importing torch takes longer than most of these runs.
    """
    program, *rest = arguments
    assert program == sys.executable
    if rest[0] == "-m":
        return run_processes(arguments)
    return run_here(rest[0], rest[1:])


def run_processes(arguments: list[str], timeout: float = 300) -> subprocess.CompletedProcess[str]:
    """Run a launcher and its processes. After `timeout` seconds, the test fails with the stacks of all of them."""
    traced = environment() | {"PYTHONFAULTHANDLER": "1"}
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen(arguments, env=traced, cwd=REPO, text=True, **pipes) as launcher:
        try:
            out, err = launcher.communicate(timeout=timeout)
        except subprocess.TimeoutExpired:
            launched = psutil.Process(launcher.pid).children(recursive=True)
            for process in launched:
                process.send_signal(signal.SIGABRT)
            psutil.wait_procs(launched, timeout=10)
            launcher.send_signal(signal.SIGABRT)
            _, err = launcher.communicate()
            pytest.fail(f"{len(launched)} processes ran for more than {timeout} s; their stacks:\n{err}")
        return subprocess.CompletedProcess(arguments, launcher.returncode, out, err)


def run_here(script: str, argv: Sequence[str]) -> subprocess.CompletedProcess[str]:
    """Run a script's `main` as if it were alone: own log, random numbers, environment and accelerate state."""
    out, err = io.StringIO(), io.StringIO()
    logged = logging.root.handlers[:], {name: logging.getLogger(name).level for name in LOGGERS}
    drawn = random.getstate(), np.random.get_state()
    before, folder = dict(os.environ), Path.cwd()
    with contextlib.ExitStack() as stack:
        stack.enter_context(torch.random.fork_rng())
        stack.enter_context(contextlib.redirect_stdout(out))
        stack.enter_context(contextlib.redirect_stderr(err))
        stack.callback(allow_compiled_kernels, allow_compiled_kernels(False))
        try:
            logging.root.handlers[:] = []
            os.environ.update(environment())
            os.chdir(REPO)
            code = _exit_code(_module(script), list(argv))
        finally:
            os.chdir(folder)
            os.environ.clear()
            os.environ.update(before)
            logging.root.handlers[:] = logged[0]
            for name, level in logged[1].items():
                logging.getLogger(name).setLevel(level)
            random.setstate(drawn[0])
            np.random.set_state(drawn[1])
            AcceleratorState._reset_state(reset_partial_state=True)
            GradientState._reset_state()
    return subprocess.CompletedProcess([script, *argv], code, out.getvalue(), err.getvalue())


def _exit_code(module: ModuleType, argv: list[str]) -> int:
    try:
        main_or_exit(module.main, argv)
    except SystemExit as exit_:
        return exit_.code if isinstance(exit_.code, int) else 0
    except Exception:
        traceback.print_exc()
        return 1
    return 0


@cache
def _module(script: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(Path(script).stem, script)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    module.logger = get_logger("__main__")  # the name that a script's log has when it is started by itself
    return module


def trained_weights(output_dir: Path, step: int, network: str = "model") -> dict[str, torch.Tensor]:
    """The weights that are trained, not their average, as the checkpoint has them: accelerate numbers its models."""
    name = {"model": "model", "discriminator": "model_1"}[network]
    return load_file(output_dir / f"checkpoint-{step}" / f"{name}.safetensors")


def published_weights(output_dir: Path) -> dict[str, torch.Tensor]:
    return load_file(output_dir / WEIGHTS)


def equal(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def kill_when(arguments: list[str], ready: Path) -> None:
    """Start a run and kill it, without a chance to clean up, as soon as a path exists."""
    process = subprocess.Popen(
        arguments, env=environment(), cwd=REPO, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    deadline = time.monotonic() + 100
    while not ready.exists():
        assert process.poll() is None, "the run ended before it could be killed"
        assert time.monotonic() < deadline
        time.sleep(0.002)
    process.send_signal(signal.SIGKILL)
    process.wait()


def published_card(folder: Path) -> str:
    """The card of a finished run; the Hub accepts it, and neither it nor the recipe has a path of this machine."""
    card, recipe = (folder / "README.md").read_text(), (folder / "recipe.yaml").read_text()
    assert card_errors(card) == []
    for place in (str(folder.parent), str(REPO)):
        assert place not in card + recipe
    return card
