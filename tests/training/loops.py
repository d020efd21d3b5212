"""A small run of the training loop, whose losses a test can change."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import soundfile
import torch
from accelerate import Accelerator

from hf_audio_vae import WaveformVAE
from hf_audio_vae.data import CropStream, StreamLoader, load_audio_stream
from hf_audio_vae.losses import WaveformL1Loss
from hf_audio_vae.training.autoencoder.objective import AutoencoderObjective
from hf_audio_vae.training.checkpoints import Checkpoints
from hf_audio_vae.training.ema import EMA
from hf_audio_vae.training.learner import Learner
from hf_audio_vae.training.loop import Timing
from hf_audio_vae.training.objective import StepLosses
from hf_audio_vae.training.run import Run

RATE = 8000
WEIGHTS = {"waveform_l1": 1.0, "kl": 1e-4}
TIMING = Timing(
    max_train_steps=12,
    checkpointing_steps=100,
    validation_steps=100,
    logging_steps=5,
    max_grad_norm=1.0,
    max_skipped_steps=3,
)


def overflow(path: Path) -> None:
    """Replace a file by one that is finite, but so loud that no loss on it is."""
    soundfile.write(path, np.full(RATE // 4, 3e38, dtype=np.float32), RATE, "FLOAT")


class Spoilt(AutoencoderObjective):
    """An objective whose loss is changed on the way to the loop."""

    spoil: Callable[[torch.Tensor, int], torch.Tensor]
    spoilt = "model"

    def __call__(self, batch, step: int) -> StepLosses:
        made = super().__call__(batch, step)
        return replace(made, losses=made.losses | {self.spoilt: self.spoil(made.losses[self.spoilt], step)})


def start(
    folder: Path, out: Path, spoil: Callable = lambda loss, step: loss, scaler: torch.amp.GradScaler | None = None
) -> Run:
    accelerator = Accelerator(cpu=True, step_scheduler_with_optimizer=False)
    accelerator.scaler = scaler
    torch.manual_seed(0)
    model = WaveformVAE(4, (2, 3), (1, 2), 4, 2, 1, RATE)
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3)
    scheduler = torch.optim.lr_scheduler.ConstantLR(optimizer, factor=1.0)
    stream = CropStream(
        load_audio_stream(str(folder)), sampling_rate=RATE, audio_channels=1, crop_length=600, batch_size=2, seed=0
    )
    ema = EMA(model, 0.9)
    learner = Learner(*accelerator.prepare(model, optimizer, scheduler))
    objective = Spoilt(learner.module, {"waveform_l1": WaveformL1Loss()}, WEIGHTS)
    objective.spoil = spoil
    return Run(accelerator, {"model": learner}, objective, StreamLoader(stream), ema, Checkpoints(accelerator, out))


def finite(model: torch.nn.Module) -> bool:
    return all(bool(torch.isfinite(p).all()) for p in model.parameters())
