from hf_audio_vae.files.locking import exclusive
from hf_audio_vae.files.writing import replacing

__all__ = ["exclusive", "replacing"]
