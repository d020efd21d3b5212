"""Training step of latent diffusion."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hf_audio_vae.data.latents import LatentBatch
from hf_audio_vae.losses.diffusion import DiffusionProcess, masked_mse
from hf_audio_vae.modules.deferral import to_device
from hf_audio_vae.training.objective import StepLosses

EncodePrompts = Callable[[list[str]], tuple[Tensor, Tensor]]


@dataclass(frozen=True)
class DenoisingErrors:
    """Prediction errors of a batch.

    Args:
        denoiser (`torch.Tensor` of shape `(batch,)`): Mean squared error of each item over its frames.
        linear_guess (`torch.Tensor` of shape `(batch,)`): Mean squared error of the best element-wise linear
            predictor, which only uses the scale of the latents.
    """

    denoiser: Tensor
    linear_guess: Tensor


def diffusion_step(
    denoiser: nn.Module,
    batch: LatentBatch,
    process: DiffusionProcess,
    *,
    normalize: Callable[[Tensor], Tensor],
    encode_prompts: EncodePrompts | None = None,
    condition_dropout: float = 0.0,
) -> DenoisingErrors:
    """Sample latents from their posteriors, add noise, predict with the denoiser, and measure.

    An item without a class or without a text (see `LatentBatch`) gives no token for it, as an item whose conditions
    are dropped.

    All random values of an item come from its own seed and have its own length. They do not depend on the batch or the
    device.

    Args:
        denoiser (`torch.nn.Module`): A `Denoiser`, possibly wrapped.
        batch (`LatentBatch`): Posteriors on the denoiser's device.
        process (`DiffusionProcess`): Diffusion process.
        normalize (`Callable`): The autoencoder's `normalize_latents`.
        encode_prompts (`Callable`, *optional*): Encodes the texts into states and a mask.
        condition_dropout (`float`): Share of items with dropped class and text (classifier-free guidance).

    Returns:
        `DenoisingErrors`: Errors of each item.
    """
    posterior_noise, noise, uniform, drops = _draw(batch)
    latents = normalize(batch.mean + batch.std * posterior_noise)
    times = to_device(process.times(uniform), batch.mean.device)  # some devices lack its operators
    noisy, target = process.noisy(latents, noise, times), process.target(latents, noise, times)
    prediction = denoiser(
        noisy,
        times,
        batch.mask,
        batch.durations,
        class_labels=batch.class_labels,
        text=encode_prompts(batch.prompts) if encode_prompts and batch.prompts else None,
        dropped=drops < condition_dropout,
    )
    linear = process.linear_guess(noisy, times)
    return DenoisingErrors(
        masked_mse(prediction.float(), target, batch.mask), masked_mse(linear, target, batch.mask).detach()
    )


def _draw(batch: LatentBatch) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return two noises (batch, latent_channels, frames), 0 in padding, and two uniform values per item."""
    noises, uniforms = [], []
    channels, longest = batch.mean.shape[1:]
    for seed, frames in zip(batch.seeds, batch.lengths, strict=True):
        generator = torch.Generator().manual_seed(seed)
        noises.append(F.pad(torch.randn(2, channels, frames, generator=generator), (0, longest - frames)))
        uniforms.append(torch.rand(2, generator=generator))
    posterior_noise, noise = to_device(torch.stack(noises, dim=1), batch.mean.device)
    uniform, drops = torch.stack(uniforms, dim=1)
    return posterior_noise, noise, uniform, to_device(drops, batch.mean.device)


class DiffusionObjective:
    """Mean squared error of the denoiser.

    Args:
        denoiser (`torch.nn.Module`): Prepared by accelerate.
        process, normalize, encode_prompts, condition_dropout: See `diffusion_step`.
    """

    def __init__(
        self,
        denoiser: nn.Module,
        process: DiffusionProcess,
        *,
        normalize: Callable[[Tensor], Tensor],
        encode_prompts: EncodePrompts | None = None,
        condition_dropout: float = 0.0,
    ) -> None:
        self.denoiser = denoiser
        self.process = process
        self.normalize = normalize
        self.encode_prompts = encode_prompts
        self.condition_dropout = condition_dropout

    def __call__(self, batch: LatentBatch, step: int) -> StepLosses:
        """Compute the loss of a batch."""
        errors = diffusion_step(
            self.denoiser,
            batch,
            self.process,
            normalize=self.normalize,
            encode_prompts=self.encode_prompts,
            condition_dropout=self.condition_dropout,
        )
        loss = errors.denoiser.mean()
        return StepLosses({"model": loss}, {"loss": loss, "loss_of_linear_guess": errors.linear_guess.mean()})

    def end_step(self, measured: Mapping[str, list[float]]) -> None:
        """Do nothing."""

    def state_dict(self) -> dict[str, Any]:
        """Return an empty state."""
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Do nothing."""
