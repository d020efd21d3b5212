"""Discriminators of real sound and reconstructions; each returns logits and feature maps."""

from hf_audio_vae.discriminators.ensemble import DISCRIMINATORS, DiscriminatorEnsemble, load_discriminators
from hf_audio_vae.discriminators.multi_period import MultiPeriodDiscriminator
from hf_audio_vae.discriminators.multi_resolution import MultiResolutionDiscriminator
from hf_audio_vae.discriminators.multi_scale_stft import MultiScaleSTFTDiscriminator
from hf_audio_vae.discriminators.output import DiscriminatorOutput

__all__ = [
    "DISCRIMINATORS",
    "DiscriminatorEnsemble",
    "DiscriminatorOutput",
    "MultiPeriodDiscriminator",
    "MultiResolutionDiscriminator",
    "MultiScaleSTFTDiscriminator",
    "load_discriminators",
]
