"""Log reconstructions and the health of latents or codes to the trackers."""

from collections import Counter
from collections.abc import Sequence

from accelerate import Accelerator
from torch import Tensor

from hf_audio_vae.evaluation.health import Health
from hf_audio_vae.evaluation.plots import figure_pixels, reconstruction_figure
from hf_audio_vae.training.autoencoder.validation import Clip
from hf_audio_vae.training.tracking import log_audio, log_pictures


def spread_indices(length: int, count: int) -> list[int]:
    """Return `count` indices of a sequence at equal distances, both ends included; all of them if it is shorter."""
    if count < 2 or length <= count:
        return list(range(min(length, count)))
    return [round(i * (length - 1) / (count - 1)) for i in range(count)]


def log_reconstructions(
    accelerator: Accelerator,
    clips: Sequence[Clip],
    reconstructions: Sequence[Tensor],
    sampling_rate: int,
    step: int,
    *,
    count: int,
) -> None:
    """Log reconstructions of some clips as audio and as images, and the originals at step 0.

    Args:
        accelerator (`accelerate.Accelerator`): Accelerator with trackers; tensorboard, trackio and wandb get media.
        clips (`Sequence[Clip]`): Originals.
        reconstructions (`Sequence[torch.Tensor]`): Reconstruction (audio_channels, time) of each clip.
        sampling_rate (`int`): In Hz.
        step (`int`): Optimiser steps done.
        count (`int`): Number of clips to log, at equal distances in their order.
    """
    waveforms, pictures = {}, {}
    shown, same = spread_indices(len(clips), count), Counter(clip.name for clip in clips)
    for index in shown:
        clip, reconstruction = clips[index], reconstructions[index]
        name = clip.name if same[clip.name] == 1 else f"{clip.name}-{index}"
        if step == 0:
            waveforms[f"{name}/original"] = clip.waveform
        waveforms[f"{name}/reconstruction"] = reconstruction
        figure = reconstruction_figure(clip.waveform, reconstruction, sampling_rate, f"{name}, step {step}")
        pictures[f"{name}/spectrogram"] = figure_pixels(figure)
    log_audio(accelerator, waveforms, sampling_rate, step)
    log_pictures(accelerator, pictures, step)


def log_health(accelerator: Accelerator, health: Health, step: int) -> None:
    """Log an image of the use of each latent channel or codebook as `latents` or `codes`."""
    log_pictures(accelerator, {health.name: figure_pixels(health.figure(f"{health.name}, step {step}"))}, step)
