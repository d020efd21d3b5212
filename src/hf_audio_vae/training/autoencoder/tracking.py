"""Reconstructions and the health of latents or codes, for the trackers."""

from collections.abc import Sequence

from accelerate import Accelerator
from torch import Tensor

from hf_audio_vae.evaluation.health import Health
from hf_audio_vae.evaluation.plots import figure_pixels, reconstruction_figure
from hf_audio_vae.training.autoencoder.validation import Clip
from hf_audio_vae.training.tracking import log_audio, log_pictures


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


def log_health(accelerator: Accelerator, health: Health, step: int) -> None:
    """Log a picture of what each latent channel or codebook carries, under the name `latents` or `codes`."""
    log_pictures(accelerator, {health.name: figure_pixels(health.figure(f"{health.name}, step {step}"))}, step)
