"""Latents or codes in a `.safetensors` file, with the metadata that decoding needs."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor

from hf_audio_vae.audio.framing import frame_count
from hf_audio_vae.files.fingerprints import fingerprint_differences
from hf_audio_vae.latents.checked_files import CHECKSUM, checksum, opened, read_tensors, save_tensors
from hf_audio_vae.latents.entropy_coding import LARGEST, CodedLatents, decode_latents

LATENTS_FORMAT = "hf_audio_vae.latents.v2"
CODES_FORMAT = "hf_audio_vae.codes.v2"
CODED_LATENTS_FORMAT = "hf_audio_vae.coded_latents.v1"
CONTENT = "latents or codes"
WITHOUT_CHECKSUM = {LATENTS_FORMAT: "hf_audio_vae.latents.v1", CODES_FORMAT: "hf_audio_vae.codes.v1"}

CODED_TENSORS = ("words", "center", "step", "deviation")
CODED_NUMBERS = ("frames", "largest")
NUMBERS = ("sampling_rate", "num_samples", "audio_channels", "hop_length")
LOCATION = ("subfolder", "revision", "variant")  # of the model, where it has them
CODE_DTYPES = (torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64)

Content = TypeVar("Content")


@dataclass(frozen=True)
class LatentsInfo:
    """Metadata of a file of latents or codes.

    Args:
        model (`str`): Path or Hub id of the model that encoded the file.
        weights (`str`): Fingerprint of the model.
        sampling_rate (`int`): Sampling rate of the waveform in Hz.
        num_samples (`int`): Length of the waveform before it was padded to whole frames.
        audio_channels (`int`): Channels of the waveform.
        hop_length (`int`): Samples per frame.
        subfolder (`str`, *optional*): Subfolder of the model.
        revision (`str`, *optional*): Version of a Hub model.
        variant (`str`, *optional*): Variant of the weights.
    """

    model: str
    weights: str
    sampling_rate: int
    num_samples: int
    audio_channels: int
    hop_length: int
    subfolder: str | None = None
    revision: str | None = None
    variant: str | None = None

    def __post_init__(self) -> None:
        for name in NUMBERS:
            if getattr(self, name) < 1:
                raise ValueError(f"its `{name}` is {getattr(self, name)}")

    def check_model(self, **expected: int | str) -> None:
        """Raise `ValueError` unless a model has the same fingerprint and numbers, given by their names.

        Args:
            **expected: `weights`, `sampling_rate`, `audio_channels` or `hop_length` of the model.
        """
        for name, value in expected.items():
            recorded = getattr(self, name)
            if fingerprint_differences(recorded, str(value)) if name == "weights" else recorded != value:
                raise ValueError(
                    f"it was encoded with `{name}` {recorded}, the model has {value}; use the model that "
                    f"encoded it, {self.model}."
                )


@dataclass(frozen=True)
class StoredCodes:
    """Content of a file of codes.

    Args:
        codes (`torch.Tensor` of shape `(num_codebooks, frames)` or a tuple of them): int64; a tuple has one
            tensor per level of a hierarchy, as returned by the model.
        scales (`torch.Tensor` of shape `(1,)`, *optional*): Divisor of the waveform, if the model normalizes.
        info (`LatentsInfo`): Metadata.
        partial (`bool`): Whether only the first codebooks of the model were saved.
    """

    codes: Tensor | tuple[Tensor, ...]
    scales: Tensor | None
    info: LatentsInfo
    partial: bool = False

    def check_codebooks(self, codebook_sizes: Sequence[int]) -> None:
        """Raise `ValueError` unless the codes fit the codebooks of a model, finest level first."""
        codes_by_codebook = _by_codebook(self.codes)
        if len(codes_by_codebook) < len(codebook_sizes) and not self.partial:
            raise ValueError(
                f"it has codes of {len(codes_by_codebook)} codebooks, the model has {len(codebook_sizes)}; encode it "
                f"again."
            )
        _check_sizes(codes_by_codebook, codebook_sizes)


def save_latents(
    path: str | Path, mean: Tensor, std: Tensor, info: LatentsInfo, *, dtype: torch.dtype = torch.float32
) -> None:
    """Write a posterior, `mean` and `std` of shape (latent_channels, frames), and its `info`.

    Raises:
        ValueError: A value is beyond the range of `dtype`.
    """
    _save(path, {"mean": narrowed(mean, dtype), "std": narrowed(std, dtype)}, LATENTS_FORMAT, info)


def save_coded_latents(path: str | Path, coded: CodedLatents, info: LatentsInfo) -> None:
    """Write entropy-coded latents and their `info`. `load_latents` reads them."""
    tensors = {name: getattr(coded, name) for name in CODED_TENSORS}
    _save(path, tensors, CODED_LATENTS_FORMAT, info, {name: str(getattr(coded, name)) for name in CODED_NUMBERS})


def narrowed(values: Tensor, dtype: torch.dtype) -> Tensor:
    """Return values in a dtype; raises `ValueError` if one becomes infinite."""
    result = values.to(dtype)
    if bool((result.isinf() & values.isfinite()).any()):
        largest = float(values.abs().max())
        raise ValueError(f"its latents reach {largest:.3g}, beyond {dtype}; use `latents_dtype` float32.")
    return result


def load_latents(path: str | Path) -> tuple[Tensor, Tensor, LatentsInfo]:
    """Read a file written by `save_latents` or by `save_coded_latents`.

    Returns:
        `mean` and `std`, float32 (latent_channels, frames), and the `LatentsInfo`. Coded latents have no posterior:
        their `std` is 0.

    Raises:
        ValueError: The file has another format, or its content contradicts its metadata.
        OSError: The file cannot be opened.
        ModuleNotFoundError: The latents are coded, and constriction is not installed.
    """
    if _format_of(path) == CODED_LATENTS_FORMAT:
        return _load(path, CODED_LATENTS_FORMAT, _coded_latents)
    return _load(path, LATENTS_FORMAT, _stored_latents)


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
    codes_by_codebook = _by_codebook(codes)
    _check_sizes(codes_by_codebook, codebook_sizes)
    dtype = torch.int16 if max(codebook_sizes) <= 2**15 else torch.int32
    named = {"codes": codes} if isinstance(codes, Tensor) else {f"codes_{i}": level for i, level in enumerate(codes)}
    tensors = {name: values.to(dtype) for name, values in named.items()}
    partial = {"codebooks": str(len(codes_by_codebook))} if len(codes_by_codebook) < len(codebook_sizes) else {}
    _save(path, tensors | ({} if scales is None else {"scales": scales}), CODES_FORMAT, info, partial)


def load_codes(path: str | Path) -> StoredCodes:
    """Read a file written by `save_codes`.

    Raises:
        ValueError: The file has another format, or its content contradicts its metadata.
        OSError: The file cannot be opened.
    """
    return _load(path, CODES_FORMAT, _stored_codes)


def holds_codes(path: str | Path) -> bool:
    """Whether a file contains codes, which `load_codes` reads, rather than latents.

    Raises:
        ValueError: The file is not a safetensors file.
        OSError: The file cannot be opened.
    """
    return _format_of(path) in (CODES_FORMAT, WITHOUT_CHECKSUM[CODES_FORMAT])


def _format_of(path: str | Path) -> str | None:
    with opened(path, CONTENT) as file:
        return (file.metadata() or {}).get("format")


def _coded_latents(
    tensors: dict[str, Tensor], info: LatentsInfo, metadata: dict[str, str]
) -> tuple[Tensor, Tensor, LatentsInfo]:
    _check_names(tensors, set(CODED_TENSORS))
    values: dict[str, Any] = dict(tensors) | {name: int(metadata.get(name, "0")) for name in CODED_NUMBERS}
    coded = CodedLatents(**values)
    channels = {tuple(tensors[name].shape) for name in CODED_TENSORS[1:]}
    if len(channels) > 1 or coded.words.dtype != torch.int32 or not 1 <= coded.largest <= LARGEST:
        raise ValueError("its tensors are not those of coded latents")
    _check_frames(coded.frames, info)
    mean = decode_latents(coded)
    return mean, torch.zeros_like(mean), info


def _stored_latents(
    tensors: dict[str, Tensor], info: LatentsInfo, metadata: dict[str, str]
) -> tuple[Tensor, Tensor, LatentsInfo]:
    _check_names(tensors, {"mean", "std"})
    mean, std = tensors["mean"], tensors["std"]
    for name, values in tensors.items():
        if not values.is_floating_point() or values.ndim != 2 or values.shape != mean.shape:
            raise ValueError(f"`{name}` is {values.dtype} of shape {tuple(values.shape)}, `mean` {tuple(mean.shape)}")
    _check_frames(mean.shape[1], info)
    mean, std = mean.float(), std.float()
    if not bool(mean.isfinite().all() and std.isfinite().all() and (std >= 0).all()):
        raise ValueError("it holds NaN or infinite values, or a negative `std`")
    return mean, std, info


def _stored_codes(tensors: dict[str, Tensor], info: LatentsInfo, metadata: dict[str, str]) -> StoredCodes:
    scales = tensors.pop("scales", None)
    if scales is not None and (scales.shape != (1,) or not scales.is_floating_point() or not 0 < scales < math.inf):
        raise ValueError(f"`scales` is {scales}, expected one positive number")
    levels = [f"codes_{level}" for level in range(len(tensors))] if "codes" not in tensors else ["codes"]
    _check_names(tensors, set(levels))
    for name in levels:
        values = tensors[name]
        if values.dtype not in CODE_DTYPES or values.ndim != 2 or not values.numel() or values.min() < 0:
            raise ValueError(f"`{name}` is {values.dtype} of shape {tuple(values.shape)}, expected codes from 0 on")
    frames = [tensors[name].shape[1] for name in levels]
    _check_frames(frames[-1], info)
    if any(finer % coarser for finer, coarser in pairwise(frames)):
        raise ValueError(f"its levels have {frames} frames, which are not multiples of each other")
    codes = tuple(tensors[name].long() for name in levels)
    stored = StoredCodes(codes[0] if levels == ["codes"] else codes, scales, info, "codebooks" in metadata)
    if stored.partial and metadata["codebooks"] != str(len(_by_codebook(stored.codes))):
        raise ValueError(f"it does not have the {metadata['codebooks']} codebooks that were saved")
    return stored


def _check_names(tensors: Mapping[str, Tensor], expected: set[str]) -> None:
    if tensors.keys() != expected or not expected:
        raise ValueError(f"it has the tensors {sorted(tensors)}, expected {sorted(expected) or 'codes'}")


def _check_frames(frames: int, info: LatentsInfo) -> None:
    expected = frame_count(info.num_samples, info.hop_length)
    if frames != expected:
        raise ValueError(f"it has {frames} frames, but {info.num_samples} samples are {expected}")


def _by_codebook(codes: Tensor | Sequence[Tensor]) -> list[Tensor]:
    return [row for level in ([codes] if isinstance(codes, Tensor) else codes) for row in level]


def _check_sizes(codes_by_codebook: Sequence[Tensor], codebook_sizes: Sequence[int]) -> None:
    if len(codes_by_codebook) > len(codebook_sizes):
        raise ValueError(
            f"there are codes of {len(codes_by_codebook)} codebooks and {len(codebook_sizes)} sizes; give one for "
            f"each codebook."
        )
    for codebook, (indices, size) in enumerate(zip(codes_by_codebook, codebook_sizes, strict=False)):
        lowest, highest = (int(indices.min()), int(indices.max())) if indices.numel() else (0, 0)
        if lowest < 0 or highest >= size:
            raise ValueError(
                f"`codes` of codebook {codebook} lie in [{lowest}, {highest}], outside 0 to {size - 1}; use the "
                f"codes of this model, or the model that encoded them."
            )


def _save(
    path: str | Path, tensors: dict[str, Tensor], kind: str, info: LatentsInfo, others: Mapping[str, str] | None = None
) -> None:
    values = {name: str(value) for name, value in asdict(info).items() if value is not None}
    save_tensors(path, tensors, {"format": kind} | values | dict(others or {}))


def _load(
    path: str | Path, kind: str, content: Callable[[dict[str, Tensor], LatentsInfo, dict[str, str]], Content]
) -> Content:
    with opened(path, CONTENT) as file:
        tensors, metadata = read_tensors(file)
    if metadata.get("format") not in (kind, WITHOUT_CHECKSUM.get(kind)):
        raise ValueError(f"{path} has format {metadata.get('format')!r}, not {kind!r}; encode it again.")
    if metadata["format"] == kind and metadata.pop(CHECKSUM, None) != checksum(tensors, metadata):
        raise ValueError(f"{path} is damaged: its content does not have the checksum that was saved; encode it again.")
    missing = [name for name in ("model", "weights", *NUMBERS) if name not in metadata]
    if missing:
        raise ValueError(f"{path} has no metadata {', '.join(missing)}; encode it again.")
    try:
        numbers: dict[str, Any] = {name: int(metadata[name]) for name in NUMBERS}
        texts: dict[str, Any] = {name: metadata.get(name) for name in ("model", "weights", *LOCATION)}
        info = LatentsInfo(**numbers, **texts)
        return content(tensors, info, metadata)
    except ValueError as error:
        raise ValueError(f"{path} cannot be used: {error}; encode it again.") from error
