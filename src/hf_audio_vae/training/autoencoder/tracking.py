"""Log reconstructions and the health of latents or codes to the trackers."""

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
    """Log each clip's reconstruction as audio and as an image, and the original at step 0.

    Args:
        accelerator (`accelerate.Accelerator`): Accelerator with trackers; tensorboard, trackio and wandb get media.
        clips (`Sequence[Clip]`): Originals.
        reconstructions (`Sequence[torch.Tensor]`): Reconstruction (audio_channels, time) of each clip.
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
    """Log an image of the use of each latent channel or codebook as `latents` or `codes`."""
    log_pictures(accelerator, {health.name: figure_pixels(health.figure(f"{health.name}, step {step}"))}, step)
