"""Checks of a model without sound of its user."""

import math
from typing import Any

import torch
from torch import Tensor

from hf_audio_vae.comparison.doctor.findings import Finding
from hf_audio_vae.comparison.doctor.probe_sounds import sounds_for
from hf_audio_vae.comparison.systems import ModelSystem
from hf_audio_vae.evaluation.embeddings import embed, embedding_of
from hf_audio_vae.files.weights import check_finite_weights
from hf_audio_vae.latents import LatentPrior
from hf_audio_vae.models import AutoencoderModel

FACTOR = 2.0  # between the deviations in the config and in the measured prior, in any channel


def described(name: str, model: AutoencoderModel) -> list[str]:
    """Return lines on class, rates and sizes.

    Args:
        name (`str`): Name of the model.
        model (`AutoencoderModel`): The model.
    """
    family: Any = model
    properties = ModelSystem(name, model).properties()
    published = model.published_class.__name__
    kind = model.family_name() if published == model.family_name() else f"{published}, read as {model.family_name()}"
    if model.codebook_sizes:
        sizes = sorted(set(model.codebook_sizes))
        size = f"{sizes[0]} to {sizes[-1]}" if len(sizes) > 1 else str(sizes[0])
        rate = family.bits_per_second / 1000
        bottleneck = f"{len(model.codebook_sizes)} codebooks of {size} codes, {rate:.2f} kbit/s"
    else:
        bottleneck = f"{family.latent_channels} latent channels"
    channels = model.config.audio_channels
    return [
        f"{name}: {kind}, {properties['parameters'] / 1e6:.2f} M parameters",
        f"{model.sampling_rate} Hz, {channels} channel{'s' * (channels > 1)} -> {bottleneck}, {model.frame_rate:.2f} "
        f"frames per second (hop {model.hop_length}), compression {properties['compression']:.1f}",
    ]


def check_weights(model: AutoencoderModel) -> Finding:
    """Check that no weight is NaN or infinite."""
    try:
        check_finite_weights("the model", model)
    except ValueError as error:
        return Finding("error", "weights", str(error))
    return Finding("ok", "weights", "all are finite")


@torch.no_grad()
def check_pairing(model: AutoencoderModel) -> Finding:
    """Check that the decoder decodes what the encoder encodes.

    Five synthetic sounds are reconstructed. Each reconstruction should be nearer to its original than to others, by
    the distance of levels in mel bands. This is true of the roughest codec, and for one sound in five of a decoder
    that ignores its input.
    """
    if model.decodes_sample_by_sample:
        return Finding(
            "ok", "reconstruction", "not checked, since decoding draws one sample after another; use `reconstruct`"
        )
    originals = sounds_for(model.sampling_rate, model.config.audio_channels)
    try:
        outputs = [model(sound[None].to(model.device)).sample[0].float().cpu() for sound in originals]
    except ValueError as error:
        return Finding("error", "reconstruction", f"test sounds cannot be coded: {error}")
    if not all(bool(output.isfinite().all()) for output in outputs):
        return Finding("error", "reconstruction", "NaN or infinite for test sounds; use an intact copy of the weights")
    try:
        targets, estimates = (_embedded(sounds, model.sampling_rate) for sounds in (originals, outputs))
    except ValueError:  # bands are empty
        return Finding(
            "ok", "reconstruction", f"not checked at {model.sampling_rate} Hz, too low for levels in mel bands"
        )
    nearest = torch.cdist(estimates, targets).argmin(dim=1)
    right, count = int((nearest == torch.arange(len(originals))).sum()), len(originals)
    if right == count:
        return Finding("ok", "reconstruction", f"each of {count} test sounds is recognised")
    text = f"{right} of {count} test sounds are recognised"
    if right > count / 2:
        return Finding("warning", "reconstruction", f"{text}; it may be a model of other sounds, or hardly trained")
    return Finding(
        "error",
        "reconstruction",
        f"{text}: encoder and decoder do not belong together, or are not trained; load both from one checkpoint",
    )


def _embedded(sounds: list[Tensor], sampling_rate: int) -> Tensor:
    """Mean and fluctuation of mel levels, (sounds, dim)."""
    embedding = embedding_of("log_mel", sampling_rate=sampling_rate)
    return torch.stack([embed(embedding, sound, sampling_rate).flatten() for sound in sounds])


def check_statistics(name: str, model: AutoencoderModel, prior: LatentPrior | None) -> Finding:
    """Check that a model with latents has statistics, and that they are those of its prior if it has both."""
    remedy = f"`hf-audio-vae statistics {name} --dataset_name DATA --overwrite`"
    family: Any = model
    if not family.has_latent_statistics:
        if prior is not None:
            return Finding("ok", "statistics", "none in the config; those beside it are used by `sample`")
        return Finding(
            "warning", "statistics", f"the latents have no known scale; measure them with {remedy} before diffusion"
        )
    if prior is None:
        return Finding("ok", "statistics", "latents_mean and latents_std are in the config")
    mean, std = (torch.tensor(getattr(model.config, key)).double() for key in ("latents_mean", "latents_std"))
    factor = math.exp(float((std / prior.std).log().abs().max()))
    distance = float(((mean - prior.mean).abs() / prior.std).max())
    if factor > FACTOR or distance > FACTOR:
        return Finding(
            "warning",
            "statistics",
            f"those in the config are not those of {prior.info.dataset_name}: a deviation differs by a factor of "
            f"{factor:.2f}, a mean by {distance:.2f} deviations; measure both with {remedy}",
        )
    return Finding("ok", "statistics", f"those in the config agree with {prior.info.dataset_name}")


def check_prior(prior: LatentPrior | None, problem: str | None) -> Finding:
    """Report on the file of the measured latents.

    Args:
        prior (`LatentPrior`, *optional*): The prior.
        problem (`str`, *optional*): Why it cannot be used.
    """
    if problem is not None:
        return Finding("error", "prior", problem)
    if prior is None:
        return Finding("ok", "prior", "not measured, so there is no distance of sounds from those of the training")
    info = prior.info
    return Finding(
        "ok",
        "prior",
        f"of {info.items} items, {info.frames} frames, of {info.dataset_name}; {info.held_out_items} held out",
    )
