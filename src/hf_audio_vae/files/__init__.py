from hf_audio_vae.files.folder import adding_to
from hf_audio_vae.files.writing import replacing

__all__ = ["adding_to", "replacing"]
