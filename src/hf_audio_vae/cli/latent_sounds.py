"""Latents of files, and sound files of latents, for the commands that change latents in between."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from hf_audio_vae.audio.io import write_audio_blocks
from hf_audio_vae.cli.encode import encoded
from hf_audio_vae.cli.outputs import printable
from hf_audio_vae.cli.sound import open_sound
from hf_audio_vae.files import replacing
from hf_audio_vae.models import AutoencoderModel
from hf_audio_vae.models.blocks import decode_blocks
from hf_audio_vae.models.sound_files import check_finite


@dataclass(frozen=True)
class EncodedSound:
    """Latents of a file.

    Args:
        name (`str`): Printable name of the file, without its ending.
        latents (`torch.Tensor` of shape `(latent_channels, frames)`): Mode of the posterior, float32 on the CPU.
        num_samples (`int`): Length of the file at the rate of the model.
    """

    name: str
    latents: Tensor
    num_samples: int


def encode_sound(model: AutoencoderModel, path: Path) -> EncodedSound:
    """Encode a file to the latents that `encode` writes; raises `UnusableFileError`."""
    with open_sound(model, path) as sound:
        mean = encoded(model, path, sound)[0][0].float().cpu()
        check_finite(path, mean)
        return EncodedSound(printable(path.stem), mean, sound.num_samples)


def write_decoded(target: Path, model: AutoencoderModel, latents: Tensor, num_samples: int) -> None:
    """Decode latents (latent_channels, frames) to a file, block by block, up to a length."""
    with replacing(target) as hidden:
        blocks = decoded_blocks(target, model, latents, num_samples)
        write_audio_blocks(hidden, blocks, num_samples, model.sampling_rate)


def decoded_blocks(target: Path, model: AutoencoderModel, latents: Tensor, num_samples: int) -> Iterator[Tensor]:
    """Decode latents (latent_channels, frames) -> (audio_channels, time) in blocks, up to a length."""
    blocks = decode_blocks(model, lambda z: model.decode(z.to(model.device, model.dtype)).sample, latents[None])
    for block in blocks:
        kept = block[0, :, :num_samples].cpu()
        check_finite(target, kept)
        num_samples -= kept.shape[-1]
        if kept.shape[-1]:
            yield kept
