"""Start and end of every training script."""

import logging
import math
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from datetime import timedelta
from pathlib import Path
from typing import Any, TypeVar

import torch
from accelerate import Accelerator
from accelerate.tracking import get_available_trackers
from accelerate.utils import (
    DistributedDataParallelKwargs,
    InitProcessGroupKwargs,
    ProjectConfiguration,
    set_seed,
)

from hf_audio_vae.data import StreamLoader
from hf_audio_vae.data.stream_loader import DeadWorkerError
from hf_audio_vae.data.streaming import ItemStream, TooManyBadItemsError
from hf_audio_vae.files import exclusive
from hf_audio_vae.runtime.allocator import keep_freed_memory
from hf_audio_vae.runtime.snake_cpu import allow_compiled_kernels
from hf_audio_vae.training.best import BestModel
from hf_audio_vae.training.checkpoints import Checkpoints
from hf_audio_vae.training.config import TrainingConfig
from hf_audio_vae.training.ema import EMA
from hf_audio_vae.training.interruption import Interrupted
from hf_audio_vae.training.learner import Learner
from hf_audio_vae.training.loop import NonFiniteLossError, Timing, fit
from hf_audio_vae.training.objective import Objective
from hf_audio_vae.training.publishing import PushError, check_output_folder, prepare_repository
from hf_audio_vae.training.run import Encoding, Run

logger = logging.getLogger(__name__)
PROJECT = "hf-audio-vae"  # name of the trackers' project
ConfigT = TypeVar("ConfigT", bound=TrainingConfig)
SHARDING = {
    "ACCELERATE_USE_FSDP": "FSDP",
    "ACCELERATE_USE_DEEPSPEED": "DeepSpeed",
    "ACCELERATE_USE_MEGATRON_LM": "Megatron-LM",
}
VALIDATION_TIMEOUT = timedelta(hours=2)  # the other processes wait while the main process validates


@contextmanager
def training_session(
    config: ConfigT, files: Sequence[str], *, find_unused_parameters: bool = False
) -> Iterator[tuple[ConfigT, Accelerator]]:
    """Check the tracker and the repository, lock and check the output folder, and start the accelerator.

    Args:
        config (`TrainingConfig`): The recipe.
        files (`Sequence[str]`): Patterns of the files that the run publishes.
        find_unused_parameters (`bool`): Set if some parameters get no gradient in some steps.

    Yields:
        The recipe, with the full id of the repository to push to, and the accelerator. No other process can write
        into the output folder until the block ends.

    Raises:
        ValueError: A tracker is not installed, the output folder is in use or holds files that the run would
            replace, or the Hub cannot be written to.
        OSError: The output folder cannot be written.
    """
    installed = [str(tracker.value) for tracker in get_available_trackers()]
    if config.report_to not in ("none", "all", *installed):
        raise ValueError(
            f"`report_to` names {config.report_to!r}, which is not installed; install it, or use "
            f"{', '.join([*installed, 'none'])}."
        )
    accelerator = start_accelerator(config, find_unused_parameters=find_unused_parameters)
    lock = exclusive(config.output_dir) if accelerator.is_main_process else nullcontext()
    with lock, _one_line_for_threads(config.output_dir):
        if accelerator.is_main_process:
            check_output_folder(config, files)
            if config.validates_on_training_data():
                logger.warning(
                    "the validation data is the training data, %s: its metrics say nothing about other sound",
                    config.dataset_name,
                )
        if config.push_to_hub and accelerator.is_main_process:
            config = config.model_copy(update={"hub_model_id": prepare_repository(config)})
        yield config, accelerator


@contextmanager
def _one_line_for_threads(folder: Path) -> Iterator[None]:
    """Log an `OSError` of a background thread in one line: trackers write from threads, and the disk may be full."""

    def log_or_print(thread_error: threading.ExceptHookArgs) -> None:
        if isinstance(error := thread_error.exc_value, OSError):
            logger.error("the logs in %s cannot be written: %s", folder, error.strerror or error)
        else:
            before(thread_error)

    before, threading.excepthook = threading.excepthook, log_or_print
    try:
        yield
    finally:
        threading.excepthook = before


def start_accelerator(config: TrainingConfig, *, find_unused_parameters: bool = False) -> Accelerator:
    """Connect to the other processes, set up the log and seed the random generators.

    Args:
        config (`TrainingConfig`): Precision, accumulation, trackers, seed.
        find_unused_parameters (`bool`): Set if some parameters get no gradient in some steps.

    Returns:
        `accelerate.Accelerator`: Prepares models; the loop steps the schedulers.

    Raises:
        ValueError: Several processes were launched, but are not connected; the precision has no effect; or the
            weights would be sharded.
    """
    check_weights_are_whole()
    accelerator = Accelerator(
        mixed_precision=config.mixed_precision,
        gradient_accumulation_steps=config.gradient_accumulation_steps,
        step_scheduler_with_optimizer=False,
        log_with=None if config.report_to == "none" else config.report_to,
        project_config=ProjectConfiguration(project_dir=config.output_dir, logging_dir=config.output_dir / "logs"),
        kwargs_handlers=[
            InitProcessGroupKwargs(timeout=VALIDATION_TIMEOUT),
            DistributedDataParallelKwargs(find_unused_parameters=find_unused_parameters),
        ],
    )
    if config.mixed_precision == "fp16" and accelerator.device.type == "cpu":
        raise ValueError("`mixed_precision` fp16 has no effect on a CPU; use bf16, or no.")
    start_log(accelerator)
    set_seed(config.seed)
    allow_compiled_kernels()
    if accelerator.device.type == "cuda":
        set_gpu_precision(allow_tf32=config.allow_tf32)
    return accelerator


def check_weights_are_whole() -> None:
    """Raise `ValueError` if the launcher shards weights: the average, validations and checkpoints need all of them."""
    for variable, name in SHARDING.items():
        if os.environ.get(variable, "false").lower() in ("true", "1"):
            raise ValueError(
                f"accelerate is set to {name}, which shards the weights, and the training needs all of them on each "
                f"GPU; use `accelerate launch --config_file training/accelerate/ddp.yaml`, or `--multi_gpu`."
            )


def set_gpu_precision(*, allow_tf32: bool) -> None:
    """Set the precision of float32 products and turn on cuDNN benchmarking, since all crops have one shape."""
    torch.set_float32_matmul_precision("high" if allow_tf32 else "highest")
    torch.backends.cudnn.allow_tf32 = allow_tf32
    torch.backends.cudnn.benchmark = True
    logger.info("float32 products and convolutions: %s", "TF32" if allow_tf32 else "full precision")


def train(
    accelerator: Accelerator,
    config: TrainingConfig,
    stream: ItemStream[Any, Any],
    learners: dict[str, Learner],
    objective: Objective,
    ema: EMA[Any],
    *,
    labels: Mapping[str, str],
    validate: Callable[[int], dict[str, float]],
    publish: Callable[[Sequence[Mapping[str, float]]], None],
    encoding: Encoding | None = None,
) -> None:
    """Start the trackers, resume if the recipe says so, train, and publish on the main process.

    Args:
        accelerator (`accelerate.Accelerator`): Accelerator of the run.
        config (`TrainingConfig`): The recipe, overrides included.
        stream (`ItemStream`): Endless batches of this process.
        learners (`dict[str, Learner]`): Networks in training: `"model"`, and optionally `"discriminator"`.
        objective (`Objective`): Their losses.
        ema (`EMA`): The averaged model.
        labels (`Mapping[str, str]`): Labels of the metrics that the log shows, see `BestModel`.
        validate (`Callable`): Returns metrics, given the number of steps done.
        publish (`Callable`): Writes the folder, given the metrics of every validation.
        encoding (`Encoding`, *optional*): Meaning of encoded data.

    Raises:
        ValueError: The checkpoint to resume from was made with another recipe or on data of another meaning, or
            `best_metric` is not a metric.
    """
    best = BestModel(config.output_dir, config.best_metric, labels, ema.model.save_pretrained)
    accelerator.init_trackers(PROJECT, {name: str(value) for name, value in config})
    on_gpu = accelerator.device.type == "cuda"
    loader = StreamLoader(stream, num_workers=config.dataloader_num_workers, pin_memory=on_gpu)
    checkpoints = Checkpoints(accelerator, config.output_dir, config.checkpoints_total_limit)
    checkpoint = checkpoints.find(config.resume_from_checkpoint)
    run = Run(
        accelerator,
        learners,
        objective,
        loader,
        ema,
        checkpoints,
        recipe=config.lasting(),
        contents=config.contents(),
        validation=config.validation(),
        encoding=encoding or Encoding(),
        accept_changes=config.accept_changes,
    )
    if checkpoint:
        run.resume(checkpoint)
    if accelerator.is_main_process:
        best.resume(run.progress.history, comparable=not run.validation_changed)

    def validate_and_keep(step: int) -> dict[str, float]:
        metrics = validate(step)
        best.add([*run.progress.history, {"step": step, **metrics}])
        return metrics

    try:
        fit(run, timing=Timing(**config.model_dump(include=set(Timing.__annotations__))), validate=validate_and_keep)
    except Interrupted:
        _end(accelerator)
        raise
    if accelerator.is_main_process:
        check_metrics(run.progress.history)
        if summary := best.summary(run.progress.history):
            logger.info(summary)
        publish(run.progress.history)
    _end(accelerator)


def check_metrics(history: Sequence[Mapping[str, float]]) -> None:
    """Raise `NonFiniteLossError` if a metric of the last validation is not finite, unless it never was."""
    first, last = (history[0] if len(history) > 1 else {}), history[-1]
    diverged = [
        name for name, value in last.items() if not math.isfinite(value) and math.isfinite(first.get(name, 0.0))
    ]
    if diverged:
        raise NonFiniteLossError(
            f"the model has diverged and is not published: {', '.join(diverged)} of the last validation are not "
            f"finite. Lower `learning_rate`, and start from an earlier checkpoint or anew."
        )


def _end(accelerator: Accelerator) -> None:
    """End the trackers and leave the process group; all processes call this."""
    # Gloo frees the tensors of the last reduction in its own thread, which needs the GIL. The barrier releases it;
    # the destructor of the process group would hold it and wait for that thread forever.
    accelerator.wait_for_everyone()
    accelerator.end_training()


class _FormatterWithoutRank(logging.Formatter):
    """Removes the rank that accelerate puts before each message."""

    def format(self, record: logging.LogRecord) -> str:
        return super().format(record).replace("[RANK 0] ", "", 1)


def start_log(accelerator: Accelerator) -> None:
    """Log INFO from this package and the script, WARNING from others; first, the number of processes.

    Raises:
        ValueError: Several processes were launched, but are not connected.
    """
    launched = int(os.environ.get("WORLD_SIZE", "1"))
    if launched > 1 and accelerator.num_processes == 1:  # each would work alone
        raise ValueError(
            f"{launched} processes were launched, but accelerate has connected none of them; on a CPU, set "
            f"ACCELERATE_USE_CPU=true."
        )
    handler = logging.StreamHandler()
    formatter = logging.Formatter if accelerator.num_processes > 1 else _FormatterWithoutRank
    handler.setFormatter(formatter("%(levelname)s: %(message)s"))
    logging.basicConfig(handlers=[handler])
    for name in ("hf_audio_vae", "__main__"):
        logging.getLogger(name).setLevel(logging.INFO)
    if accelerator.is_main_process:
        logger.info("number of processes: %d, device: %s", accelerator.num_processes, accelerator.device)


def main_or_exit(main: Callable[[list[str]], None], argv: list[str] | None = None) -> None:
    """Run a script's `main(argv)` and exit with one line and a code if it fails.

    The code is 2 for invalid input and for a file that cannot be read or written, 1 for a failed run, 130 after
    SIGINT, 143 after SIGTERM and 141 if the reader of stdout is gone.

    Args:
        main (`Callable`): Main function of the script.
        argv (`list[str]`, *optional*): Its arguments; default `sys.argv[1:]`.
    """
    keep_freed_memory()
    try:
        main(sys.argv[1:] if argv is None else argv)
        sys.stdout.flush()
    except Interrupted as interruption:
        print(interruption, file=sys.stderr)
        sys.exit(128 + interruption.number)
    except KeyboardInterrupt:
        print("interrupted; steps since the last checkpoint are lost", file=sys.stderr)
        sys.exit(128 + signal.SIGINT)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # the interpreter flushes once more when it ends
        sys.exit(128 + signal.SIGPIPE)
    except (ValueError, OSError, TooManyBadItemsError, NonFiniteLossError, DeadWorkerError, PushError) as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2 if isinstance(error, ValueError | OSError) else 1)
