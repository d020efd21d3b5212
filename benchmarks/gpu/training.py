"""A training step compared with diffusers' model in three precisions, and its waits for the GPU."""

import collections
import functools
import itertools
import math
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch
from accelerate import Accelerator
from gpu.setting import Cell, Part, Setting, SkippedError, Table, tf32
from measuring import median_seconds
from torch import Tensor, nn
from training_step import CONFIG, RATE, RATIOS

from hf_audio_vae import WaveformVAE
from hf_audio_vae.audio import read_audio, resample
from hf_audio_vae.audio.spectra import Spectra
from hf_audio_vae.discriminators import DiscriminatorEnsemble
from hf_audio_vae.losses import HingeLoss, MultiResolutionSTFTLoss, TargetRate, WaveformL1Loss
from hf_audio_vae.training.autoencoder.compiling import compile_networks
from hf_audio_vae.training.autoencoder.steps import adversarial_step

SOUND = Path(__file__).parents[2] / "data/train"
PRECISIONS = {"float32 (TF32)": None, "bfloat16": torch.bfloat16, "float16, scaled": torch.float16}
FINITE_STEPS = 50


class Trainer:
    """A model and optionally a discriminator, each with an optimiser."""

    def __init__(self, model: Any, setting: Setting, dtype: torch.dtype | None, *, adversarial: bool) -> None:
        self.model = model.to(setting.device).train()
        self.losses = [
            WaveformL1Loss(),
            MultiResolutionSTFTLoss(sampling_rate=RATE, a_weighted=True).to(setting.device),
        ]
        self.optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, betas=(0.8, 0.99))
        self.discriminator: nn.Module | None = None
        if adversarial:
            options = {"hidden_channels": 4, "window_lengths": (128,)} if setting.dry_run else {"hidden_channels": 32}
            self.discriminator = DiscriminatorEnsemble(1, multi_scale_stft=options).to(setting.device)
            self.discriminator_optimizer = torch.optim.AdamW(
                self.discriminator.parameters(), lr=3e-4, betas=(0.8, 0.99)
            )
        self.autocast = functools.partial(
            torch.autocast, setting.device.type, dtype=dtype or torch.bfloat16, enabled=dtype is not None
        )
        self.scaler = torch.amp.GradScaler(setting.device.type, enabled=dtype == torch.float16)

    def step(self, waveform: Tensor) -> Tensor:
        """Run one step; return the loss."""
        self.optimizer.zero_grad()
        with self.autocast():
            posterior = self.model.encode(waveform).latent_dist
            estimate = self.model.decode(posterior.sample()).sample
            spectra = Spectra(estimate), Spectra(waveform)
            kl = (
                0.5 * (posterior.mean.float().square() + posterior.std.float().square() - 1)
                - posterior.std.float().log()
            )
            loss = sum(criterion(*spectra) for criterion in self.losses) + 2e-4 * kl.sum(dim=1).mean()
            if self.discriminator is not None:
                terms = adversarial_step(self.discriminator, waveform, estimate, HingeLoss())
                loss = loss + 0.1 * terms.generator["adversarial"] + 5 * terms.generator["feature_matching"]
        self.scaler.scale(loss).backward()
        if self.discriminator is not None and terms.discriminator is not None:
            self.discriminator_optimizer.zero_grad()
            self.scaler.scale(terms.discriminator).backward()
            self.scaler.step(self.discriminator_optimizer)
        self.scaler.step(self.optimizer)
        self.scaler.update()
        return loss.detach()


def run(setting: Setting) -> Iterator[Part]:
    """Time steps in each precision, check that losses stay finite, and count waits and graph breaks."""
    yield lambda: step_table(setting, adversarial=False)
    yield lambda: step_table(setting, adversarial=True)
    yield lambda: finite_table(setting)
    yield lambda: wait_table(setting)
    yield lambda: compile_table(setting)


def config(setting: Setting) -> dict[str, Any]:
    """Return the model of `training_step.py`, or a tiny one."""
    return (
        CONFIG | {"encoder_hidden_size": 16, "decoder_channels": 4, "decoder_input_channels": 8}
        if setting.dry_run
        else CONFIG
    )


def crops(setting: Setting, batch: int) -> Tensor:
    """Return crops of real audio from `data/train`, (batch, 1, time), one second long."""
    hop = math.prod(RATIOS)
    length = round((0.02 if setting.dry_run else 1.0) * RATE / hop) * hop
    sounds = []
    for path in sorted(SOUND.glob("*.flac"))[:8]:
        waveform, rate = read_audio(path)
        waveform = resample(waveform.mean(dim=0, keepdim=True), rate, RATE)
        sounds += [crop for crop in waveform.split(length, dim=-1) if crop.shape[-1] == length]
    return torch.stack(list(itertools.islice(itertools.cycle(sounds), batch))).to(setting.device)


def step_table(setting: Setting, *, adversarial: bool) -> Table:
    """Measure time and memory of a step, ours and theirs."""
    try:
        from diffusers import AutoencoderOobleck
    except ImportError as error:
        raise SkippedError(f"diffusers is not installed: {error}") from error
    batch = 2 if setting.dry_run else 16
    waveform = crops(setting, batch)
    rows: list[list[Cell]] = []
    for name, dtype in PRECISIONS.items():
        torch.manual_seed(0)
        theirs = AutoencoderOobleck(**config(setting))
        ours: Any = WaveformVAE(**config(setting))
        ours.load_state_dict(theirs.state_dict())
        trainers = [Trainer(model, setting, dtype, adversarial=adversarial) for model in (ours, theirs)]
        runs = [functools.partial(trainer.step, waveform) for trainer in trainers]
        with tf32(True):
            for function in runs:
                function()
                function()
            our_seconds, their_seconds = median_seconds(runs, 1 if setting.dry_run else 10, setting.clock)
            peaks = [setting.peak_mib(function) for function in runs]
        memory_ratio = peaks[0] / peaks[1] if not isinstance(peaks[0], str) and not isinstance(peaks[1], str) else "-"
        rows.append([name, 1e3 * our_seconds, 1e3 * their_seconds, our_seconds / their_seconds, *peaks, memory_ratio])
    header = ["precision", "ours, ms", "diffusers, ms", "ratio", "ours, MiB", "diffusers, MiB", "ratio"]
    title = (
        f"A step of {batch} x {waveform.shape[-1] / RATE:.2f} s, {'with' if adversarial else 'without'} discriminators"
    )
    return Table(title, header, rows)


def finite_table(setting: Setting) -> Table:
    """Train a few steps in each precision on real audio."""
    steps = 2 if setting.dry_run else FINITE_STEPS
    waveform = crops(setting, 2 if setting.dry_run else 16)
    rows: list[list[str | float]] = []
    wrong: list[str] = []
    for (name, dtype), adversarial in itertools.product(PRECISIONS.items(), (False, True)):
        torch.manual_seed(0)
        trainer = Trainer(WaveformVAE(**config(setting)), setting, dtype, adversarial=adversarial)
        losses = torch.stack([trainer.step(waveform) for _ in range(steps)])
        label = f"{name}, {'with' if adversarial else 'without'} discriminators"
        finite = int(losses.isfinite().sum())
        rows.append([label, losses[0].item(), losses[-1].item(), f"{finite} of {steps}", trainer.scaler.get_scale()])
        wrong += [label] if finite < steps else []
    return Table("Losses on one batch", ["", "first", "last", "finite", "gradient scale"], rows, wrong)


def compile_table(setting: Setting) -> Table:
    """Time a step with compiled networks, and count graphs and graph breaks."""
    waveform = crops(setting, 2 if setting.dry_run else 16)
    rows: list[list[str | float]] = []
    for name, dtype in list(PRECISIONS.items())[: 1 if setting.dry_run else None]:
        torch._dynamo.reset()
        torch._dynamo.utils.counters.clear()
        plain, compiled = (WaveformVAE(**config(setting)) for _ in range(2))
        compile_networks(compiled, backend="eager" if setting.dry_run else "inductor")
        runs = []
        for model in (plain, compiled):
            trainer = Trainer(model, setting, dtype, adversarial=False)
            runs.append(functools.partial(trainer.step, waveform))
        with tf32(True):
            for function in runs:
                function()
                function()
            plain_seconds, compiled_seconds = median_seconds(runs, 1 if setting.dry_run else 10, setting.clock)
        counters = torch._dynamo.utils.counters
        graphs, breaks = counters["stats"]["unique_graphs"], sum(counters["graph_break"].values())
        rows.append([name, 1e3 * compiled_seconds, compiled_seconds / plain_seconds, f"{graphs}", f"{breaks}"])
    return Table("Compiled networks", ["precision", "ms", "ratio to plain", "graphs", "graph breaks"], rows)


def wait_table(setting: Setting) -> Table:
    """Count the waits of a training step for the GPU by source line."""
    try:
        from hf_audio_vae.data import CropStream, StreamLoader, load_audio_stream
        from hf_audio_vae.training.autoencoder.objective import AutoencoderObjective
        from hf_audio_vae.training.checkpoints import Checkpoints
        from hf_audio_vae.training.ema import EMA
        from hf_audio_vae.training.learner import Learner
        from hf_audio_vae.training.loop import Timing, fit
        from hf_audio_vae.training.run import Run
    except ImportError as error:
        raise SkippedError(f"a library of the training loop is missing: {error}") from error
    steps = 2 if setting.dry_run else 20
    accelerator = Accelerator(cpu=setting.device.type == "cpu", step_scheduler_with_optimizer=False)
    model: Any = WaveformVAE(**config(setting)).to(setting.device)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4)
    schedule = torch.optim.lr_scheduler.ConstantLR(optimizer, factor=1.0)
    ema = EMA(model, 0.9)
    learner = Learner(*accelerator.prepare(model, optimizer, schedule))
    control = TargetRate(1000.0, frame_rate=RATE / math.prod(RATIOS))
    losses = {"waveform_l1": WaveformL1Loss()}
    objective = AutoencoderObjective(learner.module, losses, {"waveform_l1": 1.0, "kl": control})
    stream = CropStream(
        load_audio_stream(str(SOUND)),
        sampling_rate=RATE,
        audio_channels=1,
        crop_length=1280 if setting.dry_run else RATE,
        batch_size=2 if setting.dry_run else 16,
        seed=0,
    )
    loader = StreamLoader(stream, pin_memory=setting.device.type == "cuda")
    folder = setting.output_dir / "waits"

    class RunWithoutCheckpoints(Run):
        def save_checkpoint(self, position: dict[str, Any] | None = None) -> Path:
            return folder  # a checkpoint waits for every tensor

    run = RunWithoutCheckpoints(
        accelerator, {"model": learner}, objective, loader, ema, Checkpoints(accelerator, folder, 1)
    )
    never = 10**9
    waits: collections.Counter[str] = collections.Counter()
    wait = torch.cuda.Event.synchronize

    def counted(event: torch.cuda.Event) -> None:
        waits["a deferred check"] += 1
        wait(event)

    with warnings.catch_warnings(record=True) as caught, patch.object(torch.cuda.Event, "synchronize", counted):
        warnings.simplefilter("always")
        if setting.device.type == "cuda":
            torch.cuda.set_sync_debug_mode("warn")
        try:
            fit(run, timing=Timing(steps, never, never, never, 1.0, 3), validate=lambda step: {})
        finally:
            if setting.device.type == "cuda":
                torch.cuda.set_sync_debug_mode("default")
    for warning in caught:
        if "synchroniz" in str(warning.message):
            waits[f"{Path(warning.filename).name}:{warning.lineno}"] += 1
    rows: list[list[str | float]] = [[line, count / steps] for line, count in waits.most_common(20)]
    return Table(f"Waits for the GPU in {steps} steps of the training loop", ["line", "per step"], rows)
