"""The loop every training script shares: it knows when things happen, never what they are."""

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from accelerate.logging import get_logger
from torch import Tensor
from tqdm.auto import tqdm

from hf_audio_vae.losses import Schedule, weighted_sum
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
        max_skipped_steps (`int`): Give up after this many steps in a row without a finite loss.
        max_train_minutes (`float`, *optional*): Stop after this time, counted from the start or the resume.
    """

    max_train_steps: int
    checkpointing_steps: int
    validation_steps: int
    logging_steps: int
    max_grad_norm: float
    max_skipped_steps: int
    max_train_minutes: float | None = None


def fit(
    run: Run,
    *,
    step_terms: Callable[[Any], dict[str, Tensor]],
    weights: Mapping[str, float | Schedule],
    timing: Timing,
    validate: Callable[[int], dict[str, float]],
) -> None:
    """Train until it is time to stop, and leave a checkpoint of the last step.

    Args:
        run (`Run`): What is trained, new or resumed.
        step_terms (`Callable`): Batch -> loss terms by name, unweighted.
        weights (`Mapping[str, float | Schedule]`): A weight for each term.
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
        if not _optimizer_step(run, batches, step_terms, weights, timing.max_grad_norm, meter):
            progress.skipped_steps += 1
            progress.skipped_in_a_row += 1
            if progress.skipped_in_a_row >= timing.max_skipped_steps:
                progress.skipped_in_a_row = 0  # the checkpoint gets its full number of attempts when it is resumed
                folder = run.save_checkpoint()
                raise NonFiniteLossError(
                    f"no finite loss in {timing.max_skipped_steps} steps in a row; the weights from before them are "
                    f"in {folder}. Look at the items named above, lower the learning rate, or train in float32."
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
    if progress.history[-1]["step"] != progress.step:
        _validate(run, validate)
    if saved_at != progress.step:
        run.save_checkpoint()


def _optimizer_step(
    run: Run,
    batches: Iterator[Batch],
    step_terms: Callable[[Any], dict[str, Tensor]],
    weights: Mapping[str, float | Schedule],
    max_grad_norm: float,
    meter: "_Meter",
) -> bool:
    """Accumulate batches and step; `False` if a loss or the gradient was not finite and the step was left out.

    All processes decide alike, so none waits in a backward pass that another has left out.
    """
    accelerator = run.accelerator
    names: list[str] = []
    good, last = True, False
    while not last:
        batch = next(batches)
        names += batch.names
        with accelerator.accumulate(run.model):
            last = accelerator.sync_gradients
            terms = step_terms(batch)
            loss = weighted_sum(terms, weights, run.progress.step)
            finite = bool(torch.isfinite(loss))
            if not finite:
                _warn_not_finite("loss", loss.item(), batch.names)
            good = good and not _any_process(run, not finite)
            if good:
                accelerator.backward(loss)
                meter.add(terms | {"loss": loss}, batch.seconds)
            if last and good:
                norm = accelerator.clip_grad_norm_(run.model.parameters(), max_grad_norm)
                # With a gradient scaler (fp16), infinite gradients are routine: the optimiser leaves the step out.
                good = bool(torch.isfinite(norm)) or accelerator.scaler is not None
                if not good:
                    _warn_not_finite("gradient", norm.item(), names)
            if last and good:
                run.optimizer.step()
                good = not accelerator.optimizer_step_was_skipped  # by the gradient scaler
            if last and good:
                run.lr_scheduler.step()
                run.ema.update(accelerator.unwrap_model(run.model))
            run.optimizer.zero_grad()  # accelerate lets this through on the last batch only
    return good


def _warn_not_finite(what: str, value: float, names: list[str]) -> None:
    logger.warning(f"{what} is {value}; the step is skipped. Its items: {', '.join(names)}", main_process_only=False)


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
    """Means of the terms, and the speed, since it was last read."""

    def __init__(self) -> None:
        self._reset()

    def _reset(self) -> None:
        self._sums: dict[str, Tensor] = {}
        self._count = 0
        self._seconds = 0.0
        self._started = time.monotonic()

    def add(self, terms: Mapping[str, Tensor], seconds: float) -> None:
        for name, term in terms.items():
            self._sums[name] = self._sums.get(name, torch.zeros_like(term)) + term.detach()
        self._count += 1
        self._seconds += seconds

    def read(self, run: Run) -> dict[str, float]:
        """Return the means over all processes and start over."""
        elapsed = time.monotonic() - self._started
        means = run.accelerator.reduce({name: value / self._count for name, value in self._sums.items()}, "mean")
        values = {name: value.item() for name, value in means.items()}
        values["audio_seconds_per_second"] = self._seconds * run.accelerator.num_processes / elapsed
        values["learning_rate"] = run.lr_scheduler.get_last_lr()[0]
        values["epoch"] = run.loader.epoch
        values["skipped_steps"] = run.progress.skipped_steps
        self._reset()
        return values
