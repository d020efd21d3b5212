"""Latents in a `.safetensors` file, with what decoding needs in its metadata."""

from dataclasses import asdict, dataclass, fields
from pathlib import Path

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

FORMAT = "hf_audio_vae.latents.v1"


@dataclass(frozen=True)
class LatentsInfo:
    """What a file of latents says of itself.

    Args:
        model (`str`): Path or Hub id of the model that encoded.
        weights (`str`): Fingerprint of its weights.
        sampling_rate (`int`): Of the waveform, in Hz.
        num_samples (`int`): Length of the waveform before it was padded to whole frames.
        audio_channels (`int`): Channels of the waveform.
        hop_length (`int`): Samples a frame.
    """

    model: str
    weights: str
    sampling_rate: int
    num_samples: int
    audio_channels: int
    hop_length: int


def save_latents(path: str | Path, mean: Tensor, std: Tensor, info: LatentsInfo) -> None:
    """Write a posterior, `mean` and `std` of shape (latent_channels, frames), and its `info`."""
    metadata = {"format": FORMAT} | {name: str(value) for name, value in asdict(info).items()}
    save_file({"mean": mean.contiguous().cpu(), "std": std.contiguous().cpu()}, str(path), metadata)


def load_latents(path: str | Path) -> tuple[Tensor, Tensor, LatentsInfo]:
    """Read what `save_latents` wrote.

    Returns:
        `mean` and `std`, (latent_channels, frames), and the `LatentsInfo`.

    Raises:
        ValueError: The file is not one of ours, or incomplete.
        OSError: It cannot be opened.
    """
    try:
        with safe_open(str(path), framework="pt") as file:
            metadata = file.metadata() or {}
            if metadata.get("format") != FORMAT:
                raise ValueError(f"{path} has format {metadata.get('format')!r}, not {FORMAT!r}; encode it anew.")
            mean, std = file.get_tensor("mean"), file.get_tensor("std")
    except SafetensorError as error:
        raise ValueError(f"{path} is not a readable safetensors file of latents: {error}") from error
    missing = [field.name for field in fields(LatentsInfo) if field.name not in metadata]
    if missing:
        raise ValueError(f"{path} does not say its {', '.join(missing)}; encode it anew.")
    return (
        mean,
        std,
        LatentsInfo(
            model=metadata["model"],
            weights=metadata["weights"],
            sampling_rate=int(metadata["sampling_rate"]),
            num_samples=int(metadata["num_samples"]),
            audio_channels=int(metadata["audio_channels"]),
            hop_length=int(metadata["hop_length"]),
        ),
    )
