from hf_audio_vae.files.locking import exclusive
from hf_audio_vae.files.regular import check_regular_file, check_regular_folder
from hf_audio_vae.files.writing import replacing

__all__ = ["check_regular_file", "check_regular_folder", "exclusive", "replacing"]
