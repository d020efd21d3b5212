import hashlib

import torch
from torch import nn

from hf_audio_vae.files.fingerprints import values_fingerprint
from hf_audio_vae.models.autoencoder import AudioAutoencoderMixin


def model_fingerprint(model: AudioAutoencoderMixin, *, dtype: torch.dtype | None = None) -> str:
    """SHA-256 of the weights, a hyphen, and SHA-256 of the configuration values that define the model's function.

    Compare two of them with `fingerprint_differences`.

    Args:
        model (`AudioAutoencoderMixin`): An autoencoder of any family.
        dtype (`torch.dtype`, *optional*): Convert floats to this dtype first.
    """
    weights = weights_fingerprint(model, dtype=dtype)
    describe = getattr(model, "function_config", None)
    if describe is None:  # the code of the model is a file that an earlier version wrote into a pipeline
        return weights
    return f"{weights}-{values_fingerprint(describe())}"


def latents_fingerprint(model: AudioAutoencoderMixin) -> str:
    """`model_fingerprint` of a model with latent statistics, a hyphen, and SHA-256 of the statistics in float32.

    The order in which statistics were added up changes them by less than float32 resolves.
    """
    statistics = torch.tensor([model.config.latents_mean, model.config.latents_std], dtype=torch.float32)
    return f"{model_fingerprint(model)}-{values_fingerprint(statistics.tolist())}"


def weights_fingerprint(model: nn.Module, *, dtype: torch.dtype | None = None) -> str:
    """SHA-256 over names, types, shapes and bytes of all weights: equal for equal weights on any device.

    With a `dtype`, floats are converted to it first.
    """
    digest = hashlib.sha256()
    for name, tensor in sorted(model.state_dict().items()):
        tensor = tensor.to(dtype) if dtype and tensor.is_floating_point() else tensor
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()
