"""Audio autoencoders for the Hugging Face ecosystem."""

from hf_audio_vae.models import WaveformVAE

__version__ = "0.1.0"
__all__ = ["WaveformVAE"]
