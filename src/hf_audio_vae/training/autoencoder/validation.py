import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from hf_audio_vae.evaluation.health import Health, health_of
from hf_audio_vae.evaluation.linearity import linearity_figures
from hf_audio_vae.evaluation.metrics import mean_metrics, measure
from hf_audio_vae.evaluation.registry import VALIDATION_METRICS
from hf_audio_vae.evaluation.reports import METRICS
from hf_audio_vae.models import AutoencoderModel


@dataclass(frozen=True)
class Clip:
    """A validation waveform (audio_channels, time) and its name."""

    name: str
    waveform: Tensor


@dataclass(frozen=True)
class ValidationResult:
    """Result of a validation.

    Args:
        metrics (`dict[str, float]`): Means over clips by metric name, including regularisers and health summary.
        reconstructions (`list[torch.Tensor]`): Reconstruction (audio_channels, time) of each clip.
        health (`Health`, *optional*): Health of the latents or codes of all clips, if all metrics are finite.
    """

    metrics: dict[str, float]
    reconstructions: list[Tensor]
    health: Health | None


@torch.no_grad()
def validate(model: AutoencoderModel, clips: Sequence[Clip], device: torch.device) -> ValidationResult:
    """Reconstruct each clip separately, from its posterior mean or its codes, and measure.

    Args:
        model (`AutoencoderModel`): Autoencoder; its output has `sample`, `losses`, and `latent_dist` or
            `audio_codes`.
        clips (`Sequence[Clip]`): Validation clips.
        device (`torch.device`): Device of the model.

    Returns:
        `ValidationResult`: Metrics, reconstructions, and the health of latents or codes.

    Raises:
        ValueError: There are no clips.
    """
    was_training = model.training
    model.eval()
    rows: list[dict[str, float]] = []
    reconstructions = []
    health: Health | None = health_of(model)
    for clip in clips:
        target = clip.waveform[None].to(device)  # (1, audio_channels, time)
        output = model(target)
        rows.append(measure(output.sample, target, output.losses, model.sampling_rate))
        reconstructions.append(output.sample[0].float().cpu())
        if health and all(map(math.isfinite, rows[-1].values())):
            health.add(output)
        else:
            health = None
    model.train(was_training)
    return ValidationResult(mean_metrics(rows) | (health.summary() if health else {}), reconstructions, health)


def measured_linearity(model: AutoencoderModel, clips: Sequence[Clip], device: torch.device) -> dict[str, float]:
    """Return the means of `linearity_figures` over the clips."""
    return mean_metrics([linearity_figures(model.eval(), clip.waveform.to(device)) for clip in clips])


def metric_labels(model: AutoencoderModel) -> dict[str, str]:
    """Return the labels of the metrics that a validation of this model has."""
    measured = {*VALIDATION_METRICS, *model.reconstruction_terms, *model.regulariser_terms}
    return {name: label for name, label in METRICS.items() if name in measured}
