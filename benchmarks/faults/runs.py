"""Faults of training runs: kills, damaged checkpoints, two runs in one folder."""

import os
import random
import signal
import time
from collections import Counter
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from .registry import attempt, cut, fault, flip


def training(folder: Path, automatic: bool = True, **options: Any) -> tuple[Any, nn.Module, torch.optim.Optimizer]:
    """Return an accelerator with a model of 2 M weights and its optimiser."""
    accelerate = import_module("accelerate")
    configuration = import_module("accelerate.utils").ProjectConfiguration
    project = configuration(str(folder), automatic_checkpoint_naming=automatic, total_limit=3 if automatic else None)
    accelerator = accelerate.Accelerator(cpu=True, project_config=project, **options)
    model = nn.Sequential(*(nn.Linear(512, 512) for _ in range(8)))
    return accelerator, *accelerator.prepare(model, torch.optim.AdamW(model.parameters(), lr=1e-3))


def step(model: nn.Module, optimizer: torch.optim.Optimizer) -> None:
    """Change every weight."""
    for parameter in model.parameters():
        parameter.grad = torch.randn_like(parameter)
    optimizer.step()


def ended(folder: Path, number: int, seconds: float = 0, saves: bool = True) -> int:
    """Train in a forked process, end it with a signal after some time, and return the signal that ended it."""
    child = os.fork()
    if child == 0:
        try:
            accelerator, model, optimizer = training(folder)
            while True:
                step(model, optimizer)
                (folder / "started").touch()
                if saves:
                    accelerator.save_state()
        finally:
            os._exit(1)
    first = folder / ("checkpoints/checkpoint_1" if saves else "started")
    deadline = time.monotonic() + 20
    while not first.exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    time.sleep(seconds)
    os.kill(child, number)
    return os.WTERMSIG(os.waitpid(child, 0)[1])


def continued(folder: Path) -> str:
    """Return whether the newest checkpoint of a run loads."""
    newest = max((folder / "checkpoints").iterdir(), key=lambda path: int(path.name.rpartition("_")[2]))
    accelerator, *_ = training(folder)
    return attempt(lambda: accelerator.load_state(str(newest)), lambda _: "loads")


@fault("runs", "accelerate", quick=False)
def killed(folder: Path) -> str:
    """Kill -9 at 20 random moments of a loop that saves."""
    draw = random.Random(0)
    outcomes: Counter[str] = Counter()
    for run in (folder / str(index) for index in range(20)):
        run.mkdir()
        ended(run, signal.SIGKILL, draw.uniform(0.05, 0.35))
        outcomes[continued(run)] += 1
    return "the newest checkpoint: " + "; ".join(f"{count} x {outcome}" for outcome, count in outcomes.most_common())


@fault("runs", "accelerate", quick=False)
def terminated(folder: Path) -> str:
    """SIGTERM."""
    number = ended(folder, signal.SIGTERM, saves=False)
    return f"ended by signal {number}, {len(list(folder.glob('checkpoints/*')))} checkpoints written"


DAMAGES: dict[str, Callable[[Path], object]] = {
    "No fault: a checkpoint": lambda path: None,
    "One byte of the checkpoint's weights is flipped": lambda path: flip(path / "model.safetensors"),
    "One byte of the optimiser's state is flipped": lambda path: flip(path / "optimizer.bin"),
    "The checkpoint's weights are cut in half": lambda path: cut(path / "model.safetensors"),
    "The random state is missing": lambda path: (path / "random_states_0.pkl").unlink(),
}


def resumed(folder: Path, peer: Callable[[Path], object]) -> str:
    """Return how many weights and values of the optimiser a resumed run has wrong."""
    accelerator, model, optimizer = training(folder)

    def values() -> list[Tensor]:
        state = [value for values in optimizer.state.values() for value in values.values()]
        return [value.detach().clone() for value in (*model.parameters(), *state)]

    step(model, optimizer)
    before = values()
    path = Path(accelerator.save_state())
    peer(path)
    wrong: Callable[[], int] = lambda: sum(int((a != b).sum()) for a, b in zip(before, values(), strict=True))  # noqa: E731
    return attempt(lambda: accelerator.load_state(str(path)), lambda _: f"resumes, wrong values: {wrong()}")


for _name, _damage in DAMAGES.items():
    fault("runs", {"accelerate": _damage}, _name)(resumed)


@fault("runs", {"accelerate (automatic names)": True, "accelerate (names of the script)": False})
def two_runs(folder: Path, peer: bool) -> str:
    """Two runs in one folder."""
    (first, weights, _), (second, others, _) = training(folder, peer), training(folder, peer)

    def both() -> bool:
        for accelerator in (first, second):
            accelerator.save_state(str(folder / "checkpoint-1"))
        first.load_state(str(folder / "checkpoint-1"))
        return all(torch.equal(a, b) for a, b in zip(weights.parameters(), others.parameters(), strict=True))

    return attempt(both, lambda same: f"the first resumes with the weights of the {'second' if same else 'first'}")


@fault("runs", "accelerate")
def tracker(folder: Path) -> str:
    """A tracker that is not installed."""
    module = import_module("accelerate.tracking")
    absent = sorted(set(module.LOGGER_TYPE_TO_CLASS) - set(map(str, module.get_available_trackers())))[0]

    def log() -> int:
        accelerator, *_ = training(folder, log_with=absent)
        accelerator.init_trackers("run")
        accelerator.log({"loss": 1.0})
        return len(accelerator.trackers)

    return attempt(log, lambda count: f"{count} trackers log")
