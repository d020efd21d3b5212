"""The Hugging Face classes, and the registry of families."""

from hf_audio_vae.models.hierarchical_vqvae.configuration_hierarchical_vqvae import HierarchicalVQVAEConfig
from hf_audio_vae.models.hierarchical_vqvae.modeling_hierarchical_vqvae import HierarchicalVQVAE
from hf_audio_vae.models.latent_conditioner.modeling_latent_conditioner import LatentConditioner
from hf_audio_vae.models.lora import BaseLocation, LoraAdapter
from hf_audio_vae.models.registry import (
    FAMILIES,
    AutoencoderModel,
    load_autoencoder,
    load_merged,
    load_vae,
    model_arguments,
    new_autoencoder,
    saved_class,
    saved_config,
    with_training_arguments,
)
from hf_audio_vae.models.spectrogram_vae.modeling_mel_vae import MelVAE
from hf_audio_vae.models.spectrogram_vae.modeling_spectrogram_vae import SpectrogramVAE
from hf_audio_vae.models.stft_vae.modeling_stft_vae import STFTVAE
from hf_audio_vae.models.token_vae.configuration_token_vae import TokenVAEConfig
from hf_audio_vae.models.token_vae.modeling_token_vae import TokenVAE
from hf_audio_vae.models.variational import VariationalAutoencoderMixin
from hf_audio_vae.models.wave_vae.configuration_wave_vae import WaveVAEConfig
from hf_audio_vae.models.wave_vae.modeling_wave_vae import WaveVAE
from hf_audio_vae.models.waveform_vae.modeling_waveform_vae import WaveformVAE
from hf_audio_vae.models.waveform_vqvae.configuration_waveform_vqvae import WaveformVQVAEConfig
from hf_audio_vae.models.waveform_vqvae.feature_extraction_waveform_vqvae import WaveformVQVAEFeatureExtractor
from hf_audio_vae.models.waveform_vqvae.modeling_waveform_vqvae import WaveformVQVAE

__all__ = [
    "FAMILIES",
    "STFTVAE",
    "AutoencoderModel",
    "BaseLocation",
    "HierarchicalVQVAE",
    "WaveVAE",
    "WaveVAEConfig",
    "HierarchicalVQVAEConfig",
    "LatentConditioner",
    "LoraAdapter",
    "MelVAE",
    "SpectrogramVAE",
    "TokenVAE",
    "TokenVAEConfig",
    "VariationalAutoencoderMixin",
    "WaveformVAE",
    "WaveformVQVAE",
    "WaveformVQVAEConfig",
    "WaveformVQVAEFeatureExtractor",
    "load_autoencoder",
    "load_merged",
    "load_vae",
    "model_arguments",
    "new_autoencoder",
    "with_training_arguments",
    "saved_class",
    "saved_config",
]
