from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from hf_audio_vae.evaluation.metrics import mean_metrics, measure


@dataclass(frozen=True)
class Clip:
    """A waveform (audio_channels, time) of the validation set and its name."""

    name: str
    waveform: Tensor


@torch.no_grad()
def validate(
    model: nn.Module, clips: Sequence[Clip], sampling_rate: int, device: torch.device
) -> tuple[dict[str, float], list[Tensor]]:
    """Reconstruct each clip from its posterior mean, by itself, and measure.

    Args:
        model (`torch.nn.Module`): Autoencoder; its output has `sample` and `losses`.
        clips (`Sequence[Clip]`): The fixed set.
        sampling_rate (`int`): In Hz.
        device (`torch.device`): Where the model is.

    Returns:
        Means over clips by metric name (the regularisers, too), and the reconstructions (audio_channels, time).
    """
    was_training = model.training
    model.eval()
    rows: list[dict[str, float]] = []
    reconstructions = []
    for clip in clips:
        target = clip.waveform[None].to(device)  # (1, audio_channels, time)
        output = model(target)
        rows.append(measure(output.sample, target, output.losses, sampling_rate))
        reconstructions.append(output.sample[0].float().cpu())
    model.train(was_training)
    return mean_metrics(rows), reconstructions
