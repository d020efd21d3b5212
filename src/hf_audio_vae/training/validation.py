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
class Findings:
    """What a validation finds.

    Args:
        metrics (`dict[str, float]`): Means over clips by metric name, the regularisers and the latents' summary, too.
        reconstructions (`list[torch.Tensor]`): (audio_channels, time) of each clip.
        latents (`LatentStatistics`): Of the posteriors of all clips.
    """

    metrics: dict[str, float]
    reconstructions: list[Tensor]
    latents: LatentStatistics


@torch.no_grad()
def validate(model: AutoencoderModel, clips: Sequence[Clip], device: torch.device) -> Findings:
    """Reconstruct each clip from its posterior mean, by itself, and measure.

    Args:
        model (`AutoencoderModel`): Autoencoder; its output has `sample`, `losses` and `latent_dist`.
        clips (`Sequence[Clip]`): The fixed set.
        device (`torch.device`): Where the model is.
    """
    was_training = model.training
    model.eval()
    rows: list[dict[str, float]] = []
    reconstructions = []
    latents = LatentStatistics(model.frame_rate)
    for clip in clips:
        target = clip.waveform[None].to(device)  # (1, audio_channels, time)
        output = model(target)
        rows.append(measure(output.sample, target, output.losses, model.sampling_rate))
        reconstructions.append(output.sample[0].float().cpu())
        latents.add(output.latent_dist)
    model.train(was_training)
    return Findings(mean_metrics(rows) | latents.summary(), reconstructions, latents)
