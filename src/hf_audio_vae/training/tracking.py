"""Sound and pictures for the trackers that accelerate starts; it logs numbers itself."""

import importlib
from collections.abc import Mapping, Sequence

import numpy as np
from accelerate import Accelerator
from torch import Tensor

from hf_audio_vae.evaluation.health import Health
from hf_audio_vae.evaluation.plots import figure_pixels, reconstruction_figure, spectrogram_figure
from hf_audio_vae.training.validation import Clip


def log_reconstructions(
    accelerator: Accelerator, clips: Sequence[Clip], reconstructions: Sequence[Tensor], sampling_rate: int, step: int
) -> None:
    """Log each clip's reconstruction as sound and as a picture, and at step 0 the original.

    Args:
        accelerator (`accelerate.Accelerator`): Holds the trackers: tensorboard, trackio and wandb get media.
        clips (`Sequence[Clip]`): Originals.
        reconstructions (`Sequence[torch.Tensor]`): One of shape (audio_channels, time) for each.
        sampling_rate (`int`): In Hz.
        step (`int`): Optimiser steps done.
    """
    waveforms, pictures = {}, {}
    for clip, reconstruction in zip(clips, reconstructions, strict=True):
        if step == 0:
            waveforms[f"{clip.name}/original"] = clip.waveform
        waveforms[f"{clip.name}/reconstruction"] = reconstruction
        figure = reconstruction_figure(clip.waveform, reconstruction, sampling_rate, f"{clip.name}, step {step}")
        pictures[f"{clip.name}/spectrogram"] = figure_pixels(figure)
    log_audio(accelerator, waveforms, sampling_rate, step)
    log_pictures(accelerator, pictures, step)


def log_generated(accelerator: Accelerator, waveforms: Sequence[Tensor], sampling_rate: int, step: int) -> None:
    """Log generated waveforms, (audio_channels, time) each, as sound and in one picture."""
    named = {f"generated/{number}": waveform for number, waveform in enumerate(waveforms)}
    log_audio(accelerator, named, sampling_rate, step)
    figure = spectrogram_figure(named, sampling_rate, f"step {step}")
    log_pictures(accelerator, {"generated/spectrograms": figure_pixels(figure)}, step)


def log_health(accelerator: Accelerator, health: Health, step: int) -> None:
    """Log a picture of what each latent channel or codebook carries, under the name `latents` or `codes`."""
    log_pictures(accelerator, {health.name: figure_pixels(health.figure(f"{health.name}, step {step}"))}, step)


def log_audio(accelerator: Accelerator, waveforms: Mapping[str, Tensor], sampling_rate: int, step: int) -> None:
    """Log waveforms (audio_channels, time) in [-1, 1]; TensorBoard plays mono, so it gets the mean of the channels."""
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
    """Log uint8 pictures (height, width, 3)."""
    for tracker in accelerator.trackers:
        if tracker.name == "tensorboard":
            for name, picture in pictures.items():
                tracker.writer.add_image(name, picture.numpy(), global_step=step, dataformats="HWC")
        elif tracker.name in ("wandb", "trackio"):
            image = importlib.import_module(tracker.name).Image
            tracker.log({name: image(np.asarray(picture)) for name, picture in pictures.items()}, step=step)
