import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from hf_audio_vae.evaluation.health import Health, health_of
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
        metrics (`dict[str, float]`): Means over clips by metric name, the regularisers and the health's summary, too.
        reconstructions (`list[torch.Tensor]`): (audio_channels, time) of each clip.
        health (`Health`, *optional*): Of the latents or codes of all clips, if all that was measured is finite.
    """

    metrics: dict[str, float]
    reconstructions: list[Tensor]
    health: Health | None


@torch.no_grad()
def validate(model: AutoencoderModel, clips: Sequence[Clip], device: torch.device) -> ValidationResult:
    """Reconstruct each clip by itself, from its posterior mean or its codes, and measure.

    Args:
        model (`AutoencoderModel`): Autoencoder; its output has `sample`, `losses`, and `latent_dist` or
            `audio_codes`.
        clips (`Sequence[Clip]`): The fixed set.
        device (`torch.device`): Where the model is.

    Returns:
        `ValidationResult`: Means, reconstructions, and the health of latents or codes.

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
