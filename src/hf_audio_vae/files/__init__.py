from hf_audio_vae.files.content import content_checksum
from hf_audio_vae.files.folders import filling, settle, write_errors
from hf_audio_vae.files.locking import exclusive
from hf_audio_vae.files.manifest import check_manifest, write_manifest
from hf_audio_vae.files.regular import check_regular_file, check_regular_folder
from hf_audio_vae.files.writing import replacing

__all__ = [
    "check_manifest",
    "check_regular_file",
    "check_regular_folder",
    "content_checksum",
    "exclusive",
    "filling",
    "replacing",
    "settle",
    "write_errors",
    "write_manifest",
]
