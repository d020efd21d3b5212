"""Training loop of all training scripts. It schedules steps; objectives compute the losses."""

import itertools
import math
import signal
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from accelerate import Accelerator
from accelerate.logging import get_logger
from torch import Tensor
from tqdm.contrib.logging import logging_redirect_tqdm

from hf_audio_vae.data.stream_loader import DeadWorkerError
from hf_audio_vae.data.streaming import TooManyBadItemsError
from hf_audio_vae.training.interruption import SIGNALS, Interrupted, StopSignals
from hf_audio_vae.training.learner import Learner
from hf_audio_vae.training.objective import StepLosses
from hf_audio_vae.training.progress import progress_bar
from hf_audio_vae.training.run import Batch, Run

logger = get_logger(__name__)


class NonFiniteLossError(RuntimeError):
    """The loss was NaN or infinite in too many consecutive steps."""


@dataclass(frozen=True)
class Timing:
    """Intervals and limits, in optimiser steps.

    Args:
        max_train_steps (`int`): Total steps, including those before a resume.
        checkpointing_steps (`int`): Steps between checkpoints.
        validation_steps (`int`): Steps between validations. One more runs before the first step and one at the end.
        logging_steps (`int`): Steps between entries in the log.
        max_grad_norm (`float`): Norm to clip the gradient to.
        max_skipped_steps (`int`): Stop after this many consecutive steps without finite loss and gradient.
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
    """Train until the step or time limit and save a checkpoint of the last step.

    SIGINT and SIGTERM to any process end the run after the step, with a checkpoint.

    Args:
        run (`Run`): New or resumed run.
        timing (`Timing`): Intervals and limits.
        validate (`Callable`): Step -> metrics; called on the main process only.

    Raises:
        Interrupted: A signal was received. A checkpoint is saved.
        NonFiniteLossError: No finite loss in `max_skipped_steps` consecutive steps. A checkpoint before them is saved.
        ValueError: The run has more than `max_train_steps` steps already, or the names of terms and weights differ.
    """
    progress = run.progress
    if progress.step > timing.max_train_steps:
        raise ValueError(
            f"`max_train_steps` is {timing.max_train_steps}, but the run to resume has {progress.step} steps already; "
            f"give that number or more, or resume from an earlier checkpoint."
        )
    if not progress.history:
        _validate(run, validate, StopSignals())
    with StopSignals() as signals:
        stopped = _train(run, timing, validate, signals)
        if stopped is None and progress.history[-1]["step"] != progress.step:
            stopped = _validate(run, validate, signals)
        if run.saved_at != progress.step:
            run.save_checkpoint()
    if stopped is not None:
        raise Interrupted(
            stopped,
            f"{stopped.name} ended the run at step {progress.step}; continue with `--resume_from_checkpoint latest`",
        )


def _train(
    run: Run, timing: Timing, validate: Callable[[int], dict[str, float]], signals: StopSignals
) -> signal.Signals | None:
    """Take the steps; return the signal that ended them early."""
    progress, accelerator = run.progress, run.accelerator
    time_is_up, stopped = False, None
    if progress.step % timing.validation_steps == 0 and progress.history[-1]["step"] != progress.step:
        stopped = _validate(run, validate, signals)  # that a signal aborted before the resume
    batches = iter(run.loader)
    meter = _Meter()
    deadline = time.monotonic() + 60 * (timing.max_train_minutes or float("inf"))

    def stop_flags() -> list[bool]:
        return [time.monotonic() > deadline, *(signals.received == number for number in SIGNALS)]

    with (
        logging_redirect_tqdm(),  # a line of the log would begin at the end of the bar
        progress_bar(accelerator, total=timing.max_train_steps, initial=progress.step, unit="step") as bar,
    ):
        while progress.step < timing.max_train_steps and not time_is_up and stopped is None:
            taken, flags = _optimizer_step(run, _next_batches(run, batches), timing.max_grad_norm, meter, stop_flags)
            time_is_up, stopped = flags[0], next(itertools.compress(SIGNALS, flags[1:]), None)
            if not taken:
                _count_skipped_step(run, timing.max_skipped_steps)
                continue
            progress.step += 1
            progress.skipped_in_a_row = 0
            bar.update()
            if progress.step % timing.logging_steps == 0:
                values = meter.read(run)
                accelerator.log(values, step=progress.step)
                bar.set_postfix_str(
                    f"loss {values['loss']:.3f}, {values['audio_seconds_per_second']:.0f} s audio/s", refresh=False
                )
            if progress.step % timing.validation_steps == 0 and stopped is None:
                stopped = _validate(run, validate, signals)
            if progress.step % timing.checkpointing_steps == 0:
                run.save_checkpoint()
    if time_is_up and stopped is None and progress.step < timing.max_train_steps:
        logger.info(f"`max_train_minutes` {timing.max_train_minutes:g} is reached at step {progress.step}")
    return stopped


def _count_skipped_step(run: Run, limit: int) -> None:
    """Count a step that was not taken; save a checkpoint and raise `NonFiniteLossError` after too many in a row."""
    run.progress.skipped_steps += 1
    run.progress.skipped_in_a_row += 1
    if run.progress.skipped_in_a_row >= limit:
        run.progress.skipped_in_a_row = 0  # a resumed run starts with the full number of attempts
        folder = run.save_checkpoint()
        raise NonFiniteLossError(
            f"loss or gradient was not finite in {limit} consecutive steps; the weights before these steps are in "
            f"{folder}. Check the items named above, lower the learning rate, or train in float32."
        )


def _next_batches(run: Run, batches: Iterator[Batch]) -> list[Batch]:
    """Return the batches of a step. If a process that trains alone gets none, it saves a checkpoint first."""
    position = run.loader.state_dict()
    try:
        return [next(batches) for _ in range(run.accelerator.gradient_accumulation_steps)]
    except (StopIteration, ValueError, OSError, TooManyBadItemsError, DeadWorkerError) as error:
        if run.accelerator.num_processes == 1 and run.saved_at != run.progress.step:
            run.save_checkpoint(position)
        if isinstance(error, StopIteration):
            raise ValueError(f"the training data ended after step {run.progress.step}; check the data set.") from None
        raise


class _BatchResult:
    """Detached values of a batch. Their graphs would keep the batch's activations in memory."""

    def __init__(self, step: StepLosses, batch: Batch) -> None:
        self.losses, self.logged, self.measured = (
            {name: value.detach() for name, value in values.items()}
            for values in (step.losses, step.logged, step.measured)
        )
        self.names, self.seconds = batch.names, batch.seconds


def _optimizer_step(
    run: Run, batches: Sequence[Batch], max_grad_norm: float, meter: "_Meter", stop_flags: Callable[[], list[bool]]
) -> tuple[bool, list[bool]]:
    """Accumulate batches and step; return whether the step was taken, and which flags any process has set.

    The step is skipped for all learners if any loss or gradient is not finite. All processes make the same decision.
    The host reads from the device once, after all work of the step is queued.
    """
    accelerator = run.accelerator
    results: list[_BatchResult] = []
    for batch in (batch.to(accelerator.device) for batch in batches):
        with accelerator.accumulate(*(learner.module for learner in run.learners.values())):
            step = run.objective(batch, run.progress.step)
            for loss in step.losses.values():
                accelerator.backward(loss)
            results.append(_BatchResult(step, batch))
            if accelerator.sync_gradients:  # at the last batch
                taken, flags = _end_step(run, results, max_grad_norm, meter, stop_flags())
            for learner in run.learners.values():
                learner.optimizer.zero_grad()  # accelerate executes this on the last batch only
    return taken, flags


def _end_step(
    run: Run, results: Sequence[_BatchResult], max_grad_norm: float, meter: "_Meter", flags: Sequence[bool]
) -> tuple[bool, list[bool]]:
    """Clip gradients and step the learners, unless a loss or a gradient is not finite."""
    accelerator = run.accelerator
    learners = {name: run.learners[name] for name in results[-1].losses}

    def clip() -> dict[str, Tensor]:
        return {
            name: accelerator.clip_grad_norm_(learner.module.parameters(), max_grad_norm)
            for name, learner in learners.items()
        }

    # A gradient scaler (fp16) itself skips steps with infinite gradients, which are routine. `clip` unscales, and only
    # a step that is taken may be unscaled.
    scaled = accelerator.scaler is not None
    norms = {} if scaled else clip()
    losses = _means([result.losses for result in results])
    measured = _means([result.measured for result in results])
    losses_finite, norms_finite, measurements, flags = _read(accelerator, losses, norms, measured, flags)
    if not losses_finite:
        for result in results:  # of this process
            if not all(bool(torch.isfinite(loss)) for loss in result.losses.values()):
                _warn_not_finite("loss", result.losses, result.names)
    elif not norms_finite:
        _warn_not_finite("gradient", norms, [name for result in results for name in result.names])
    if not (losses_finite and norms_finite):
        return False, flags
    norms = clip() if scaled else norms
    for name, learner in learners.items():
        with meter.measuring(learner, norms[name], max_grad_norm):
            learner.optimizer.step()
        if accelerator.optimizer_step_was_skipped:  # by the gradient scaler
            scale = accelerator.scaler.get_scale()
            logger.info(f"gradients overflow in fp16; the step is skipped, and the scale of the loss is now {scale:g}")
            return False, flags
        learner.lr_scheduler.step()
    run.objective.end_step(measurements)
    run.ema.update(accelerator.unwrap_model(run.model))
    for result in results:
        meter.add(result.logged, result.seconds)
    return True, flags


def _means(batches: Sequence[Mapping[str, Tensor]]) -> dict[str, Tensor]:
    return {name: torch.stack([values[name] for values in batches]).mean(dim=0) for name in batches[0]}


def _read(
    accelerator: Accelerator,
    losses: Mapping[str, Tensor],
    norms: Mapping[str, Tensor],
    measured: Mapping[str, Tensor],
    flags: Sequence[bool],
) -> tuple[bool, bool, dict[str, list[float]], list[bool]]:
    """Average over processes and copy to the host in one transfer.

    Returns:
        Whether all losses are finite on all processes, whether all norms are, the means of `measured`, and which
        flags any process has set.
    """
    set_flags = torch.tensor(flags, dtype=torch.float32, device=accelerator.device)
    tensors = [tensor.flatten() for tensor in (*losses.values(), *norms.values(), *measured.values(), set_flags)]
    values = iter(accelerator.reduce(torch.cat(tensors), "mean").tolist())
    finite = [[math.isfinite(next(values)) for _ in numbers] for numbers in (losses, norms)]
    measurements = {name: list(itertools.islice(values, tensor.numel())) for name, tensor in measured.items()}
    return all(finite[0]), all(finite[1]), measurements, [value > 0 for value in values]


def _warn_not_finite(kind: str, values: Mapping[str, Tensor], names: Sequence[str]) -> None:
    shown = ", ".join(f"{name} {value.item()}" for name, value in values.items())
    logger.warning(
        f"the {kind} is not finite ({shown}); the step is skipped. Items: {', '.join(names)}", main_process_only=False
    )


def _validate(run: Run, validate: Callable[[int], dict[str, float]], signals: StopSignals) -> signal.Signals | None:
    """Validate on the main process; return the signal to any process that aborted it."""
    step, accelerator = run.progress.step, run.accelerator
    metrics: dict[str, float] = {}
    if accelerator.is_main_process and signals.received is None:
        with signals.aborting():
            metrics = validate(step)
            accelerator.log({f"validation/{name}": value for name, value in metrics.items()}, step=step)
    flags = torch.tensor([signals.received == number for number in SIGNALS], dtype=torch.float32)
    received = accelerator.reduce(flags.to(accelerator.device), "sum").tolist()  # waits for the main process
    stopped = next(itertools.compress(SIGNALS, received), None)
    if stopped is None:
        run.progress.history.append({"step": step, **metrics})
    return stopped


class _Meter:
    """Means of the terms, speed, and statistics of each learner's first step since the last reading."""

    def __init__(self) -> None:
        self._reset()

    def _reset(self) -> None:
        self._terms: dict[str, list[Tensor]] = defaultdict(list)
        self._measured: list[Learner] = []
        self._learner_statistics: dict[str, Tensor] = {}
        self._seconds = 0.0
        self._started = time.monotonic()

    def add(self, terms: Mapping[str, Tensor], seconds: float) -> None:
        for name, term in terms.items():
            self._terms[name].append(term.detach())
        self._seconds += seconds

    @contextmanager
    def measuring(self, learner: Learner, norm: Tensor, max_norm: float) -> Iterator[None]:
        """Measure a learner's gradient and update, once between two readings."""
        if learner in self._measured:
            yield
            return
        self._measured.append(learner)
        self._learner_statistics |= learner.gradient_norms(norm, max_norm)
        with learner.measured_update(self._learner_statistics):
            yield

    def read(self, run: Run) -> dict[str, float]:
        """Return the means over all processes and reset."""
        elapsed = time.monotonic() - self._started
        device = run.accelerator.device
        means = {name: torch.stack(terms).mean().to(device) for name, terms in self._terms.items()}
        values = {name: value.item() for name, value in run.accelerator.reduce(means, "mean").items()}
        values |= {name: value.item() for name, value in self._learner_statistics.items()}
        values["audio_seconds_per_second"] = self._seconds * run.accelerator.num_processes / elapsed
        values["learning_rate"] = run.learners["model"].lr_scheduler.get_last_lr()[0]
        values["epoch"] = run.loader.epoch
        values["skipped_steps"] = run.progress.skipped_steps
        self._reset()
        return values
