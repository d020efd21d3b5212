"""Loss of a denoiser on held-out latents, and statistics of generated latents."""

from collections.abc import Callable, Sequence
from dataclasses import replace

import torch
from diffusers import DiffusionPipeline
from torch import Tensor, nn

from hf_audio_vae.data.latents import LatentBatch
from hf_audio_vae.latents import ChannelMoments
from hf_audio_vae.losses.diffusion import DiffusionProcess
from hf_audio_vae.training.latent_diffusion.objective import EncodePrompts, diffusion_step

DRAWS = 8  # samples of noise and time per item


@torch.no_grad()
def generate_like(
    pipeline: DiffusionPipeline, batch: LatentBatch, seed: int, *, num_inference_steps: int, guidance_scale: float
) -> Tensor:
    """Generate normalised latents, (latent_channels, frames), with the class, text and length of one item, if any."""
    names = pipeline.conditioner.config.class_names
    given = () if batch.class_labels is None else batch.class_labels.tolist()
    labels = [names[label] for label in given if label >= 0]
    (latents,) = pipeline(
        [prompt for prompt in batch.prompts or () if prompt] or None,
        labels or None,
        audio_end_in_s=int(batch.mask.sum()) / batch.frame_rate,
        num_inference_steps=num_inference_steps,
        guidance_scale=guidance_scale,
        generator=torch.Generator().manual_seed(seed),
        output_type="latent",
        return_dict=False,
    )
    return latents[0]


@torch.no_grad()
def denoising_metrics(
    denoiser: nn.Module,
    batches: Sequence[LatentBatch],
    process: DiffusionProcess,
    *,
    normalize: Callable[[Tensor], Tensor],
    encode_prompts: EncodePrompts | None,
    device: torch.device,
) -> dict[str, float]:
    """Return the mean loss of the denoiser and of the linear predictor on fixed items at fixed noise and times.

    Args:
        denoiser (`torch.nn.Module`): A `Denoiser`.
        batches (`Sequence[LatentBatch]`): Batches from `first_crops`.
        process (`DiffusionProcess`): Diffusion process.
        normalize (`Callable`): The autoencoder's `normalize_latents`.
        encode_prompts (`Callable`, *optional*): Encodes texts into states and a mask.
        device (`torch.device`): Device of the denoiser.

    Raises:
        ValueError: There are no batches.
    """
    was_training = denoiser.training
    denoiser.eval()
    if not batches:
        raise ValueError(
            "the validation data set holds no latents that can be used; check its path and split, and its labels."
        )
    losses, baselines = [], []
    for number, batch in enumerate(batches):
        for draw in range(DRAWS):
            seeded = replace(batch, origin=replace(batch.origin, seeds=[DRAWS * number + draw])).to(device)
            errors = diffusion_step(denoiser, seeded, process, normalize=normalize, encode_prompts=encode_prompts)
            losses.append(errors.denoiser.item())
            baselines.append(errors.linear_guess.item())
    denoiser.train(was_training)
    loss, baseline = sum(losses) / len(losses), sum(baselines) / len(baselines)
    return {"denoising_loss": loss, "linear_guess_loss": baseline, "loss_ratio": loss / baseline}


def generation_metrics(
    generated: Sequence[Tensor], batches: Sequence[LatentBatch], normalize: Callable[[Tensor], Tensor]
) -> dict[str, float]:
    """Compare generated latents with data latents by channel, and return the errors of the worst channel.

    Args:
        generated (`Sequence[torch.Tensor]`): Normalised latents, (latent_channels, frames) each.
        batches (`Sequence[LatentBatch]`): Data to compare with.
        normalize (`Callable`): The autoencoder's `normalize_latents`.

    Returns:
        Error of a mean in standard deviations of the data, and ratio of standard deviations.
    """
    moments, data = ChannelMoments(), ChannelMoments()
    for latents in generated:
        moments.add(latents, torch.zeros_like(latents))
    for batch in batches:
        for mean, std, mask in zip(batch.mean, batch.std, batch.mask, strict=True):
            normalized_mean, upper = normalize(mean[None, :, mask])[0], normalize((mean + std)[None, :, mask])[0]
            data.add(normalized_mean, upper - normalized_mean)
    distance, factor = moments.distance(data)
    return {"generated_mean_distance": distance, "generated_std_factor": factor}
