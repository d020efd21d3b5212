"""Log audio and images to the trackers of accelerate, which itself logs only numbers."""

import importlib
from collections.abc import Mapping, Sequence

import numpy as np
from accelerate import Accelerator
from torch import Tensor

from hf_audio_vae.evaluation.plots import figure_pixels, spectrogram_figure


def log_generated(accelerator: Accelerator, waveforms: Sequence[Tensor], sampling_rate: int, step: int) -> None:
    """Log generated waveforms, (audio_channels, time) each, as audio and as spectrograms in one image."""
    named = {f"generated/{number}": waveform for number, waveform in enumerate(waveforms)}
    log_audio(accelerator, named, sampling_rate, step)
    figure = spectrogram_figure(named, sampling_rate, f"step {step}")
    log_pictures(accelerator, {"generated/spectrograms": figure_pixels(figure)}, step)


def log_audio(accelerator: Accelerator, waveforms: Mapping[str, Tensor], sampling_rate: int, step: int) -> None:
    """Log waveforms (audio_channels, time) in [-1, 1]. TensorBoard plays mono and gets the mean of the channels."""
    for tracker in accelerator.trackers:
        if tracker.name == "tensorboard":
            for name, waveform in waveforms.items():
                mono = waveform.mean(dim=0, keepdim=True).clamp(-1, 1)
                tracker.writer.add_audio(name, mono, global_step=step, sample_rate=sampling_rate)
        elif tracker.name in ("wandb", "trackio"):
            audio = importlib.import_module(tracker.name).Audio
            # (channels, time) -> (time, channels)
            media = {
                name: audio(waveform.numpy().T, sample_rate=sampling_rate) for name, waveform in waveforms.items()
            }
            tracker.log(media, step=step)


def log_pictures(accelerator: Accelerator, pictures: Mapping[str, Tensor], step: int) -> None:
    """Log uint8 images (height, width, 3)."""
    for tracker in accelerator.trackers:
        if tracker.name == "tensorboard":
            for name, picture in pictures.items():
                tracker.writer.add_image(name, picture.numpy(), global_step=step, dataformats="HWC")
        elif tracker.name in ("wandb", "trackio"):
            image = importlib.import_module(tracker.name).Image
            tracker.log({name: image(np.asarray(picture)) for name, picture in pictures.items()}, step=step)
