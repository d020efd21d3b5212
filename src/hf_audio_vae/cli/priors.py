"""The measured prior of the latents of a model, for commands."""

import argparse
from typing import cast

from hf_audio_vae.files.pretrained import file_path
from hf_audio_vae.latents.prior import PRIOR_FILE, LatentPrior
from hf_audio_vae.models import AutoencoderModel, VariationalAutoencoderMixin
from hf_audio_vae.models.fingerprint import model_fingerprint
from hf_audio_vae.pipelines import Prior
from hf_audio_vae.tokens.storage import holds_tokens


def check_has_latents(name: str, revision: str | None = None) -> None:
    """Raise `ValueError` if a model is a language model, which has another prior than that of frames."""
    if holds_tokens(name, revision=revision):
        kind = type(Prior.from_pretrained(name, revision=revision).model).__name__
        raise ValueError(
            f"{name} is a {kind}, a model of tokens with a prior of its own; sample that with "
            f"`hf-audio-vae generate {name}`."
        )


def with_latents(name: str, model: AutoencoderModel) -> VariationalAutoencoderMixin:
    """Return a model that has latents; raises `ValueError` if it has codes instead."""
    if model.codebook_sizes:
        raise ValueError(
            f"{name} is a {model.family_name()}, which has codes and no latents; train a language model of its codes "
            f"with `hf-audio-vae train-prior`, and sample that with `hf-audio-vae generate`."
        )
    return cast(VariationalAutoencoderMixin, model)


def stored_prior(arguments: argparse.Namespace, model: AutoencoderModel) -> LatentPrior | None:
    """Return the prior beside a model, or `None` if nothing was measured.

    The weights are compared only as they are saved: a `--torch_dtype` or a `--variant` rounds them.

    Raises:
        ValueError: The file is damaged, or describes another model.
    """
    location = {"subfolder": arguments.subfolder, "revision": arguments.revision}
    path = file_path(arguments.model, PRIOR_FILE, **location)
    if path is None:
        return None
    prior = LatentPrior.load(path)
    if arguments.torch_dtype is None and arguments.variant is None:
        try:
            prior.check_model(model_fingerprint(model))
        except ValueError as error:
            raise ValueError(f"{path} does not belong to {arguments.model}: {error}") from error
    return prior
