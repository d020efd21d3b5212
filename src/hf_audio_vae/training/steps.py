"""What one training step computes; when it runs is the loop's affair."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from hf_audio_vae.data.streaming import CropBatch


def reconstruction_step(model: nn.Module, batch: CropBatch, losses: Mapping[str, nn.Module]) -> dict[str, Tensor]:
    """Encode, sample and decode a batch; return every term of the ELBO by name, unweighted.

    The posterior's noise comes from each crop's own seed: neither the batch it sits in, nor the device, nor the number
    of processes changes it.

    Args:
        model (`torch.nn.Module`): Autoencoder, possibly wrapped; its output has `sample` and `losses`.
        batch (`CropBatch`): Crops on the model's device.
        losses (`Mapping[str, torch.nn.Module]`): Reconstruction losses, (estimate, target) -> scalar.

    Returns:
        `dict[str, torch.Tensor]`: Scalars: one for each of `losses`, and the model's own regularisers.
    """
    generators = [torch.Generator().manual_seed(seed) for seed in batch.seeds]
    output = model(batch.waveform, sample_posterior=True, generator=generators)
    return {name: loss(output.sample, batch.waveform) for name, loss in losses.items()} | output.losses
