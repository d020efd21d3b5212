"""A studio with every kind of model, and the pipeline at a rate that a browser plays."""

from pathlib import Path

import torch

from hf_audio_vae import AudioLatentDiffusionPipeline, WaveformVAE
from hf_audio_vae.files.location import DEFAULT_MODEL, PRETRAINED
from hf_audio_vae.latents import AttributeVector, LatentPrior
from hf_audio_vae.models import load_autoencoder
from hf_audio_vae.models.fingerprint import model_fingerprint
from hf_audio_vae.pipelines import Prior
from hf_audio_vae.studio.workshop import CodeGenerator, Workshop
from tests.pipelines.latent_parts import CHANNELS, latent_diffusion, transformer
from tests.pipelines.parts import with_random_parameters

RATE, HOP, SECONDS = 8000, 200, 2
SAVED = Path(__file__).parents[1] / "saved"
HELD_OUT = Path(__file__).parents[2] / "data/held_out"


def pipeline() -> AudioLatentDiffusionPipeline:
    """Latent diffusion of two seconds at 8 kHz, with random weights."""
    statistics = {"latents_mean": (0.5, -0.25), "latents_std": (0.5, 2.0)}
    with torch.random.fork_rng():
        torch.manual_seed(0)
        vae = with_random_parameters(WaveformVAE(4, (10, 20), (1, 2), 4, CHANNELS, 1, RATE, **statistics))
        denoiser = transformer(frames=RATE // HOP * SECONDS)
    return latent_diffusion(class_names=("drum", "voice"), denoiser=denoiser, autoencoder=vae)


def workshop(folder: Path, **options: float) -> Workshop:
    """A studio with two autoencoders, a prior, a vector, a pipeline and a language model."""
    model, codec = load_autoencoder(DEFAULT_MODEL).eval(), load_autoencoder(SAVED / "waveform_vqvae").eval()
    prior = LatentPrior.load(PRETRAINED / DEFAULT_MODEL / "latent_prior.safetensors")
    direction = prior.principal_axes.directions[0].float()
    return Workshop(
        {DEFAULT_MODEL: model, "codec": codec},
        folder,
        priors={DEFAULT_MODEL: prior},
        vectors={"brighter": AttributeVector("brighter", direction, model_fingerprint(model))},
        pipelines={"drums": pipeline()},
        code_generators={"codes": CodeGenerator([Prior.from_pretrained(SAVED / "prior")], codec)},
        **options,
    )
