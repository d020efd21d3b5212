"""Audio processing without learned parameters."""

from hf_audio_vae.audio.io import AudioDecodeError, open_audio, read_audio, write_audio
from hf_audio_vae.audio.resampling import convert_channels, read_crop, resample

__all__ = ["AudioDecodeError", "convert_channels", "open_audio", "read_audio", "read_crop", "resample", "write_audio"]
