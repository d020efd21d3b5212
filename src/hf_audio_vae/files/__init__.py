from hf_audio_vae.files.folders import check_folder_writable, check_no_file, filling, make_folder, settle
from hf_audio_vae.files.listing import listing_checksum, same_listing
from hf_audio_vae.files.locking import exclusive
from hf_audio_vae.files.manifest import check_manifest, write_manifest
from hf_audio_vae.files.regular import check_regular_file, check_regular_folder
from hf_audio_vae.files.writing import as_write_error, replacing

__all__ = [
    "check_manifest",
    "check_regular_file",
    "check_regular_folder",
    "listing_checksum",
    "exclusive",
    "check_no_file",
    "check_folder_writable",
    "filling",
    "make_folder",
    "replacing",
    "same_listing",
    "settle",
    "as_write_error",
    "write_manifest",
]
