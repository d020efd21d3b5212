import hashlib

import torch
from torch import nn


def weights_fingerprint(model: nn.Module, *, as_float32: bool = False) -> str:
    """SHA-256 over names, types, shapes and bytes of all weights: equal for equal models on any device.

    With `as_float32`, floats of half precision are converted first, which is exact.
    """
    digest = hashlib.sha256()
    for name, tensor in sorted(model.state_dict().items()):
        tensor = tensor.float() if as_float32 and tensor.is_floating_point() else tensor
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()
