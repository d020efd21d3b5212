from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from hf_audio_vae.evaluation.latents import LatentStatistics
from hf_audio_vae.evaluation.metrics import mean_metrics, measure
from hf_audio_vae.models import AutoencoderModel


@dataclass(frozen=True)
class Clip:
    """A waveform (audio_channels, time) of the validation set and its name."""

    name: str
    waveform: Tensor


@dataclass(frozen=True)
class ValidationResult:
    """What a validation found.

    Args:
        metrics (`dict[str, float]`): Means over clips by metric name, the regularisers and the latents' summary, too.
        reconstructions (`list[torch.Tensor]`): (audio_channels, time) of each clip.
        latents (`LatentStatistics`, *optional*): Of the posteriors of all clips, if they are finite.
    """

    metrics: dict[str, float]
    reconstructions: list[Tensor]
    latents: LatentStatistics | None


@torch.no_grad()
def validate(model: AutoencoderModel, clips: Sequence[Clip], device: torch.device) -> ValidationResult:
    """Reconstruct each clip from its posterior mean, by itself, and measure.

    Args:
        model (`AutoencoderModel`): Autoencoder; its output has `sample`, `losses` and `latent_dist`.
        clips (`Sequence[Clip]`): The fixed set.
        device (`torch.device`): Where the model is.

    Returns:
        `ValidationResult`: Means, reconstructions and the latents' statistics.

    Raises:
        ValueError: There are no clips.
    """
    was_training = model.training
    model.eval()
    rows: list[dict[str, float]] = []
    reconstructions = []
    posteriors = []
    for clip in clips:
        target = clip.waveform[None].to(device)  # (1, audio_channels, time)
        output = model(target)
        rows.append(measure(output.sample, target, output.losses, model.sampling_rate))
        reconstructions.append(output.sample[0].float().cpu())
        posteriors.append(output.latent_dist)
    model.train(was_training)
    latents = None
    if all(bool(posterior.mean.isfinite().all() and posterior.std.isfinite().all()) for posterior in posteriors):
        latents = LatentStatistics(model.frame_rate)
        for posterior in posteriors:
            latents.add(posterior)
    return ValidationResult(mean_metrics(rows) | (latents.summary() if latents else {}), reconstructions, latents)
