from hf_audio_vae.files.writing import replacing

__all__ = ["replacing"]
