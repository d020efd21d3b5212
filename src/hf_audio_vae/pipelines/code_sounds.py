"""Sound from language models of codes and the autoencoder of the codes."""

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from hf_audio_vae.audio.framing import units_of
from hf_audio_vae.models import AutoencoderModel
from hf_audio_vae.pipelines.token_generation import Prior, Sampling, generate_codes, generate_hierarchy


@torch.no_grad()
def generate_sounds(
    priors: Sequence[Prior],
    autoencoder: AutoencoderModel,
    seconds: float | None = None,
    *,
    batch_size: int | None = None,
    latents: Tensor | None = None,
    sampling: Sampling | None = None,
    generator: torch.Generator | None = None,
    progress: Callable[[int], object] | None = None,
) -> Tensor:
    """Generate codes and decode them.

    Args:
        priors (`Sequence[Prior]`): One language model, or those of a hierarchy from coarse to fine.
        autoencoder (`AutoencoderModel`): Model whose codes they were trained on; see `Prior.check_autoencoder`.
        seconds (`float`, *optional*): Length of a sound; default that of the training crops.
        batch_size (`int`, *optional*): Number of sounds; by default that of `latents`, or 1.
        latents (`torch.Tensor`, *optional*): Latents of a `TokenVAE`; see `generate_codes`.
        sampling (`Sampling`, *optional*): Sampling options; default `Sampling()`.
        generator (`torch.Generator`, *optional*): Source of the seeds.
        progress (`Callable`, *optional*): Called with the number of new frames after each window.

    Returns:
        `torch.Tensor` of shape `(batch, audio_channels, time)`: Float32 on the CPU, at the rate of the autoencoder.

    Raises:
        ValueError: `seconds` is out of range, or the sounds are not finite; or see `generate_hierarchy`.
    """
    info = priors[0].info
    seconds = length_of(priors, seconds)
    time = units_of("audio_end_in_s", seconds, autoencoder.sampling_rate)
    frames = frames_of(priors, seconds)
    options: dict[str, Any] = {
        "batch_size": batch_size,
        "latents": latents,
        "sampling": sampling,
        "generator": generator,
        "progress": progress,
    }
    if info.levels:
        levels = tuple(level.to(autoencoder.device) for level in generate_hierarchy(priors, frames, **options))
        has_all_levels = len(levels) == autoencoder.num_levels
        decoded = autoencoder.decode(levels) if has_all_levels else autoencoder.decode(levels[0], level=0)
    else:
        decoded = autoencoder.decode(generate_codes(priors[0], frames, **options).to(autoencoder.device))
    if not bool(decoded.audio_values.isfinite().all()):
        raise ValueError("the generated sounds are NaN or infinite; check the weights of the models.")
    return decoded.audio_values[..., :time].float().cpu()


def length_of(priors: Sequence[Prior], seconds: float | None) -> float:
    """Return the length of a sound in seconds: the given one, or that of the training crops."""
    info = priors[0].info
    return seconds or info.segment_units / info.frame_rates[0]


def frames_of(priors: Sequence[Prior], seconds: float) -> int:
    """Return the frames of codes of the first language model that a sound of this length needs."""
    return math.ceil(round(seconds * priors[0].info.frame_rates[0], 6))
