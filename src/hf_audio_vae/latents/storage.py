"""Latents or codes in a `.safetensors` file, with the metadata that decoding needs."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import TypeVar

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

LATENTS_FORMAT = "hf_audio_vae.latents.v1"
CODES_FORMAT = "hf_audio_vae.codes.v1"

Content = TypeVar("Content")


@dataclass(frozen=True)
class LatentsInfo:
    """Metadata of a file of latents or codes.

    Args:
        model (`str`): Path or Hub id of the model that encoded the file.
        weights (`str`): Fingerprint of its weights.
        sampling_rate (`int`): Sampling rate of the waveform in Hz.
        num_samples (`int`): Length of the waveform before it was padded to whole frames.
        audio_channels (`int`): Channels of the waveform.
        hop_length (`int`): Samples per frame.
    """

    model: str
    weights: str
    sampling_rate: int
    num_samples: int
    audio_channels: int
    hop_length: int


@dataclass(frozen=True)
class StoredCodes:
    """Content of a file of codes.

    Args:
        codes (`torch.Tensor` of shape `(num_codebooks, frames)` or a tuple of them): int64; a tuple has one
            tensor per level of a hierarchy, as returned by the model.
        scales (`torch.Tensor` of shape `(1,)`, *optional*): Divisor of the waveform, if the model normalizes.
        info (`LatentsInfo`): Metadata.
    """

    codes: Tensor | tuple[Tensor, ...]
    scales: Tensor | None
    info: LatentsInfo


def save_latents(path: str | Path, mean: Tensor, std: Tensor, info: LatentsInfo) -> None:
    """Write a posterior, `mean` and `std` of shape (latent_channels, frames), and its `info`."""
    _save(path, {"mean": mean, "std": std}, LATENTS_FORMAT, info)


def load_latents(path: str | Path) -> tuple[Tensor, Tensor, LatentsInfo]:
    """Read a file written by `save_latents`.

    Returns:
        `mean` and `std`, (latent_channels, frames), and the `LatentsInfo`.

    Raises:
        ValueError: The file has another format or is incomplete.
        OSError: The file cannot be opened.
    """
    return _load(path, LATENTS_FORMAT, lambda tensors, info: (tensors["mean"], tensors["std"], info))


def save_codes(
    path: str | Path,
    codes: Tensor | Sequence[Tensor],
    info: LatentsInfo,
    *,
    codebook_sizes: Sequence[int],
    scales: Tensor | None = None,
) -> None:
    """Write codes, as int16 if all codebooks have at most 2 ** 15 codes, else as int32.

    Args:
        path (`str` or `Path`): File to write.
        codes (`torch.Tensor` of shape `(num_codebooks, frames)` or a sequence of them): One tensor, or one per
            level of a hierarchy.
        info (`LatentsInfo`): Metadata.
        codebook_sizes (`Sequence[int]`): Codebook sizes of the model, finest level first. Codes may be given for
            the first codebooks only.
        scales (`torch.Tensor` of shape `(1,)`, *optional*): Divisor of the waveform.

    Raises:
        ValueError: There are more codebooks than sizes, or a code is outside its codebook.
    """
    codes_by_codebook = [row for level in ([codes] if isinstance(codes, Tensor) else codes) for row in level]
    if len(codes_by_codebook) > len(codebook_sizes):
        raise ValueError(
            f"there are codes of {len(codes_by_codebook)} codebooks and {len(codebook_sizes)} sizes; give one for "
            f"each codebook."
        )
    for codebook, (indices, size) in enumerate(zip(codes_by_codebook, codebook_sizes, strict=False)):
        lowest, highest = (int(indices.min()), int(indices.max())) if indices.numel() else (0, 0)
        if lowest < 0 or highest >= size:
            raise ValueError(
                f"`codes` of codebook {codebook} lie in [{lowest}, {highest}], outside 0 to {size - 1}; give the "
                f"codebook sizes of the model that encoded."
            )
    dtype = torch.int16 if max(codebook_sizes) <= 2**15 else torch.int32
    named = {"codes": codes} if isinstance(codes, Tensor) else {f"codes_{i}": level for i, level in enumerate(codes)}
    tensors = {name: values.to(dtype) for name, values in named.items()}
    _save(path, tensors | ({} if scales is None else {"scales": scales}), CODES_FORMAT, info)


def load_codes(path: str | Path) -> StoredCodes:
    """Read a file written by `save_codes`.

    Raises:
        ValueError: The file has another format or is incomplete.
        OSError: The file cannot be opened.
    """
    return _load(path, CODES_FORMAT, _stored_codes)


def holds_codes(path: str | Path) -> bool:
    """Whether a file contains codes, which `load_codes` reads, rather than latents.

    Raises:
        ValueError: The file is not a safetensors file.
        OSError: The file cannot be opened.
    """
    with _opened(path) as file:
        return (file.metadata() or {}).get("format") == CODES_FORMAT


def _stored_codes(tensors: dict[str, Tensor], info: LatentsInfo) -> StoredCodes:
    levels = sorted((name for name in tensors if name.startswith("codes_")), key=lambda name: int(name[6:]))
    codes = tuple(tensors[name].long() for name in levels) or tensors["codes"].long()
    return StoredCodes(codes, tensors.get("scales"), info)


def _save(path: str | Path, tensors: dict[str, Tensor], kind: str, info: LatentsInfo) -> None:
    metadata = {"format": kind} | {name: str(value) for name, value in asdict(info).items()}
    save_file({name: values.contiguous().cpu() for name, values in tensors.items()}, str(path), metadata)


def _read(path: str | Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Read the tensors and metadata of a safetensors file."""
    with _opened(path) as file:
        return {name: file.get_tensor(name) for name in file.keys()}, file.metadata() or {}  # noqa: SIM118


@contextmanager
def _opened(path: str | Path) -> Iterator[safe_open]:
    try:
        with safe_open(str(path), framework="pt") as file:
            yield file
    except SafetensorError as error:
        raise ValueError(f"{path} is not a readable safetensors file of latents or codes: {error}") from error


def _load(path: str | Path, kind: str, content: Callable[[dict[str, Tensor], LatentsInfo], Content]) -> Content:
    tensors, metadata = _read(path)
    if metadata.get("format") != kind:
        raise ValueError(f"{path} has format {metadata.get('format')!r}, not {kind!r}; encode it again.")
    missing = [field.name for field in fields(LatentsInfo) if field.name not in metadata]
    if missing:
        raise ValueError(f"{path} has no metadata {', '.join(missing)}; encode it again.")
    info = LatentsInfo(
        model=metadata["model"],
        weights=metadata["weights"],
        sampling_rate=int(metadata["sampling_rate"]),
        num_samples=int(metadata["num_samples"]),
        audio_channels=int(metadata["audio_channels"]),
        hop_length=int(metadata["hop_length"]),
    )
    try:
        return content(tensors, info)
    except KeyError as error:
        raise ValueError(f"{path} has no tensor {error}; encode it again.") from error
