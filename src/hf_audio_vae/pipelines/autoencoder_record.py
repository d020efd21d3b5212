"""The autoencoder that a denoiser was trained with, recorded by data type and fingerprint."""

import torch
from diffusers.utils.torch_utils import unwrap_module

from hf_audio_vae.files.fingerprints import fingerprint_differences, values_fingerprint
from hf_audio_vae.models import AutoencoderModel
from hf_audio_vae.models.fingerprint import model_fingerprint


def described(vae: AutoencoderModel) -> str | None:
    """Return data type and fingerprint of an autoencoder, or `None` if its weights are not in memory."""
    vae = unwrap_module(vae)  # of torch.compile, which renames the weights
    if any(tensor.is_meta for tensor in vae.parameters()):
        return None
    fingerprint = model_fingerprint(vae, dtype=torch.float32)
    if "-" in fingerprint:  # of this version's code
        statistics = [getattr(vae.config, name, None) for name in ("latents_mean", "latents_std")]
        fingerprint += f"-{values_fingerprint(statistics)}"
    return f"{str(vae.dtype).removeprefix('torch.')} {fingerprint}"


def differences(vae: AutoencoderModel, record: str) -> list[str]:
    """Return what differs for certain; a conversion to half precision rounds weights, which are then not compared."""
    dtype, recorded = record.split()
    present = described(vae)
    differing = [] if present is None else fingerprint_differences(recorded, present.split()[1])
    exact = str(vae.dtype) in ("torch.float32", f"torch.{dtype}")
    return [part for part in differing if exact or part != "weights"]
