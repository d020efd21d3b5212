"""The public names of the package. Their import registers the classes with diffusers and transformers."""

from diffusers import ModelMixin  # diffusers looks for the base class of a pipeline's component here

from hf_audio_vae.models import (
    STFTVAE,
    HierarchicalVQVAE,
    HierarchicalVQVAEConfig,
    LatentConditioner,
    MelVAE,
    SpectrogramVAE,
    TokenVAE,
    TokenVAEConfig,
    WaveformVAE,
    WaveformVQVAE,
    WaveformVQVAEConfig,
    WaveformVQVAEFeatureExtractor,
    WaveVAE,
    WaveVAEConfig,
)
from hf_audio_vae.pipelines import AudioLatentDiffusionPipeline
from hf_audio_vae.registration import register
from hf_audio_vae.version import __version__

register()

__all__ = [
    "STFTVAE",
    "AudioLatentDiffusionPipeline",
    "HierarchicalVQVAE",
    "WaveVAE",
    "WaveVAEConfig",
    "HierarchicalVQVAEConfig",
    "LatentConditioner",
    "MelVAE",
    "ModelMixin",
    "SpectrogramVAE",
    "TokenVAE",
    "TokenVAEConfig",
    "WaveformVAE",
    "WaveformVQVAE",
    "WaveformVQVAEConfig",
    "WaveformVQVAEFeatureExtractor",
    "__version__",
]
