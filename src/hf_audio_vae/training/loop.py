"""The loop every training script shares: it knows when things happen, never what they are."""

import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from accelerate import Accelerator
from accelerate.logging import get_logger
from torch import Tensor
from tqdm.auto import tqdm

from hf_audio_vae.training.learner import Learner
from hf_audio_vae.training.run import Batch, Run

logger = get_logger(__name__)


class NonFiniteLossError(RuntimeError):
    """The loss was NaN or infinite too many times in a row."""


@dataclass(frozen=True)
class Timing:
    """When things happen, in optimiser steps.

    Args:
        max_train_steps (`int`): Steps in all, those before a resume included.
        checkpointing_steps (`int`): Between checkpoints.
        validation_steps (`int`): Between validations; there is one before the first step and one at the end.
        logging_steps (`int`): Between entries in the log.
        max_grad_norm (`float`): Where to clip the gradient's norm.
        max_skipped_steps (`int`): Give up after this many steps in a row without finite loss and gradient.
        max_train_minutes (`float`, *optional*): Stop after this time, counted from the start or the resume.
    """

    max_train_steps: int
    checkpointing_steps: int
    validation_steps: int
    logging_steps: int
    max_grad_norm: float
    max_skipped_steps: int
    max_train_minutes: float | None = None


def fit(run: Run, *, timing: Timing, validate: Callable[[int], dict[str, float]]) -> None:
    """Train until it is time to stop, and leave a checkpoint of the last step.

    Args:
        run (`Run`): What is trained and what for, new or resumed.
        timing (`Timing`): When things happen.
        validate (`Callable`): Step -> metrics; called on the main process alone.

    Raises:
        NonFiniteLossError: No finite loss for `max_skipped_steps` steps in a row; the checkpoint is from before them.
        ValueError: Terms and weights differ in name.
    """
    progress, accelerator = run.progress, run.accelerator
    if not progress.history:
        _validate(run, validate)
    batches = iter(run.loader)
    meter = _Meter()
    saved_at = progress.step
    deadline = time.monotonic() + 60 * (timing.max_train_minutes or float("inf"))
    bar = tqdm(
        total=timing.max_train_steps,
        initial=progress.step,
        disable=not accelerator.is_main_process,
        unit="step",
        mininterval=0.5,
    )
    while progress.step < timing.max_train_steps and not _any_process(run, time.monotonic() > deadline):
        if not _optimizer_step(run, batches, timing.max_grad_norm, meter):
            progress.skipped_steps += 1
            progress.skipped_in_a_row += 1
            if progress.skipped_in_a_row >= timing.max_skipped_steps:
                progress.skipped_in_a_row = 0  # the checkpoint gets its full number of attempts when it is resumed
                folder = run.save_checkpoint()
                raise NonFiniteLossError(
                    f"no finite loss and gradient in {timing.max_skipped_steps} steps in a row; the weights from "
                    f"before them are in {folder}. Look at the items named above, lower the learning rate, or train "
                    f"in float32."
                )
            continue
        progress.step += 1
        progress.skipped_in_a_row = 0
        bar.update()
        if progress.step % timing.logging_steps == 0:
            values = meter.read(run)
            accelerator.log(values, step=progress.step)
            bar.set_postfix_str(f"loss {values['loss']:.3f}, {values['audio_seconds_per_second']:.0f} s audio/s")
        if progress.step % timing.validation_steps == 0:
            _validate(run, validate)
        if progress.step % timing.checkpointing_steps == 0:
            run.save_checkpoint()
            saved_at = progress.step
    bar.close()
    if progress.step < timing.max_train_steps:
        logger.info(f"time is up after {timing.max_train_minutes:g} min, at step {progress.step}")
    if progress.history[-1]["step"] != progress.step:
        _validate(run, validate)
    if saved_at != progress.step:
        run.save_checkpoint()


def _optimizer_step(run: Run, batches: Iterator[Batch], max_grad_norm: float, meter: "_Meter") -> bool:
    """Accumulate batches and step; `False` if a loss or a gradient was not finite and the step was left out.

    All learners go by the weights from before the step, and move together or not at all; only running averages in a
    model, such as codebooks, have taken in what was finite of the batch by then. All processes decide alike,
    so none waits in a backward pass that another has left out.
    """
    accelerator = run.accelerator
    names: list[str] = []
    good, last = True, False
    while not last:
        batch = next(batches).to(accelerator.device)
        names += batch.names
        with accelerator.accumulate(*(learner.module for learner in run.learners.values())):
            last = accelerator.sync_gradients
            step = run.objective(batch, run.progress.step)
            finite = all(bool(torch.isfinite(loss)) for loss in step.losses.values())
            if not finite:
                _warn_not_finite("loss", step.losses, batch.names)
            good = good and not _any_process(run, not finite)
            if good:
                for loss in step.losses.values():
                    accelerator.backward(loss)
                meter.add(step.logged, batch.seconds)
            if last:
                learners = {name: run.learners[name] for name in step.losses}
                good = good and _move(accelerator, learners, max_grad_norm, names, meter)
                run.objective.end_step(accelerator, taken=good)
            if last and good:
                run.ema.update(accelerator.unwrap_model(run.model))
            for learner in run.learners.values():
                learner.optimizer.zero_grad()  # accelerate lets this through on the last batch only
    return good


def _move(
    accelerator: Accelerator, learners: dict[str, Learner], max_grad_norm: float, names: list[str], meter: "_Meter"
) -> bool:
    """Step every learner's optimiser; `False` if a gradient is not finite and none has moved."""
    norms = {
        name: accelerator.clip_grad_norm_(learner.module.parameters(), max_grad_norm)
        for name, learner in learners.items()
    }
    # With a gradient scaler (fp16), infinite gradients are routine: the optimiser leaves the step out.
    if accelerator.scaler is None and not all(bool(torch.isfinite(norm)) for norm in norms.values()):
        _warn_not_finite("gradient", norms, names)
        return False
    for name, learner in learners.items():
        with meter.measuring(learner, norms[name].item(), max_grad_norm):
            learner.optimizer.step()
        if accelerator.optimizer_step_was_skipped:  # by the gradient scaler
            return False
        learner.lr_scheduler.step()
    return True


def _warn_not_finite(what: str, values: Mapping[str, Tensor], names: list[str]) -> None:
    shown = ", ".join(f"{name} {value.item()}" for name, value in values.items())
    logger.warning(f"{what} is {shown}; the step is skipped. Its items: {', '.join(names)}", main_process_only=False)


def _any_process(run: Run, flag: bool) -> bool:
    """Whether the flag is up on any process; the same answer on all."""
    if run.accelerator.num_processes == 1:
        return flag
    flags = torch.tensor(float(flag), device=run.accelerator.device)
    return bool(run.accelerator.reduce(flags, reduction="sum") > 0)


def _validate(run: Run, validate: Callable[[int], dict[str, float]]) -> None:
    step = run.progress.step
    metrics: dict[str, float] = {}
    if run.accelerator.is_main_process:
        metrics = validate(step)
        run.accelerator.log({f"validation/{name}": value for name, value in metrics.items()}, step=step)
    run.accelerator.wait_for_everyone()
    run.progress.history.append({"step": step, **metrics})


class _Meter:
    """Means of the terms, the speed, and each learner's first step, since it was last read."""

    def __init__(self) -> None:
        self._reset()

    def _reset(self) -> None:
        self._terms: dict[str, list[Tensor]] = defaultdict(list)
        self._measured: list[Learner] = []
        self._health: dict[str, Tensor] = {}
        self._seconds = 0.0
        self._started = time.monotonic()

    def add(self, terms: Mapping[str, Tensor], seconds: float) -> None:
        for name, term in terms.items():
            self._terms[name].append(term.detach())
        self._seconds += seconds

    @contextmanager
    def measuring(self, learner: Learner, norm: float, max_norm: float) -> Iterator[None]:
        """Look at a learner's gradient and at how far its optimiser moves it, once between two readings."""
        if learner in self._measured:
            yield
            return
        self._measured.append(learner)
        self._health |= learner.gradient_norms(norm, max_norm)
        with learner.measured_update(self._health):
            yield

    def read(self, run: Run) -> dict[str, float]:
        """Return the means over all processes and start over."""
        elapsed = time.monotonic() - self._started
        device = run.accelerator.device
        means = {name: torch.stack(terms).mean().to(device) for name, terms in self._terms.items()}
        values = {name: value.item() for name, value in run.accelerator.reduce(means, "mean").items()}
        values |= {name: value.item() for name, value in self._health.items()}
        values["audio_seconds_per_second"] = self._seconds * run.accelerator.num_processes / elapsed
        values["learning_rate"] = run.learners["model"].lr_scheduler.get_last_lr()[0]
        values["epoch"] = run.loader.epoch
        values["skipped_steps"] = run.progress.skipped_steps
        self._reset()
        return values
