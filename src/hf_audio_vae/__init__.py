"""Audio autoencoders for the Hugging Face ecosystem."""

from hf_audio_vae.models import WaveformVAE
from hf_audio_vae.version import __version__

__all__ = ["WaveformVAE", "__version__"]
