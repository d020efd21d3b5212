"""The `encode` command."""

import argparse
import math
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from hf_audio_vae.cli.inputs import sound_files
from hf_audio_vae.cli.outputs import Outputs, printable
from hf_audio_vae.cli.sound import Notices, load_coder, open_sound, process_files
from hf_audio_vae.latents import code_latents
from hf_audio_vae.latents.storage import LOCATION, LatentsInfo, save_coded_latents, save_codes, save_latents
from hf_audio_vae.models import AutoencoderModel
from hf_audio_vae.models.blocks import encode_blocks, encoding_needs_whole_signal
from hf_audio_vae.models.fingerprint import model_fingerprint
from hf_audio_vae.models.sound_files import Sound, UnusableFileError, check_finite


@torch.no_grad()
def run(arguments: argparse.Namespace) -> int:
    """Run the command."""
    step = arguments.quantization_step
    if step is not None and not 0 < step < math.inf:  # also refuses NaN
        raise ValueError(f"--quantization_step is {step}; give a number above 0, such as 1.")
    if step is not None and arguments.latents_dtype is not None:
        raise ValueError("--latents_dtype has no effect with --quantization_step; leave one of them out.")
    files = sound_files(arguments.files, arguments.output_dir)
    outputs = Outputs(files, arguments.output_dir, [".safetensors"], overwrite=arguments.overwrite)
    model = load_coder(arguments.model, arguments, decodes=False)
    for option in ("quantization_step", "latents_dtype"):
        if getattr(arguments, option) is not None and model.codebook_sizes:
            raise ValueError(f"--{option} has no effect on the codes of a {type(model).__name__}; leave it out.")
    fingerprint = model_fingerprint(model)

    notices = Notices()

    def process(path: Path) -> None:
        with open_sound(model, path, notices) as sound, outputs.writing(path) as (target,):
            info = LatentsInfo(
                model=str(Path(arguments.model).resolve()) if Path(arguments.model).is_dir() else arguments.model,
                weights=fingerprint,
                sampling_rate=model.sampling_rate,
                num_samples=sound.num_samples,
                audio_channels=model.config.audio_channels,
                hop_length=model.hop_length,
                **{name: getattr(arguments, name) for name in LOCATION},
            )
            described = encode_file(target, model, path, sound, info, arguments)
            size = target.stat().st_size
            seconds = sound.num_samples / model.sampling_rate
            content = f"{described}, {size / 1000:.1f} kB, {8 * size / seconds / 1000:.1f} kbit/s with its header"
        print(f"{printable(outputs[path])}: {content}")

    return process_files("encode", list(files), process, notices)


def encode_file(
    target: Path, model: AutoencoderModel, path: Path, sound: Sound, info: LatentsInfo, arguments: argparse.Namespace
) -> str:
    """Encode a sound and write the file -> description of its content."""
    parts, scales = encoded(model, path, sound)
    if not model.codebook_sizes:
        mean, std = parts
        check_finite(path, mean, std)
        step, kind = arguments.quantization_step, arguments.latents_dtype or "float16"
        try:
            if step is None:
                save_latents(target, mean, std, info, dtype=getattr(torch, kind))
            else:
                save_coded_latents(target, code_latents(mean, std, relative_step=step), info)
        except ValueError as error:
            raise UnusableFileError(f"{path}: {error}") from error
        return f"{mean.shape[0]} channels x {mean.shape[1]} frames {f'of {kind}' if step is None else 'coded'}"
    codes = parts if model.codes_by_level else parts[0]
    save_codes(target, codes, info, codebook_sizes=model.codebook_sizes, scales=scales)
    if isinstance(codes, Tensor):
        return f"{codes.shape[0]} codebooks x {codes.shape[1]} frames"
    return f"{len(codes)} levels of {', '.join(str(level.shape[1]) for level in codes)} frames"


def encoded(model: AutoencoderModel, path: Path, sound: Sound) -> tuple[list[Tensor], Tensor | None]:
    """Return mean and standard deviation, or the codes of each level, without batch; and the scale if there is one."""

    def read(start: int, stop: int) -> Tensor:
        return sound.read(start, stop)[None].to(model.device)

    try:
        if not encoding_needs_whole_signal(model):
            blocks = [[part[0].cpu() for part in block] for block in encode_blocks(model, read, sound.num_samples)]
            return [torch.cat(parts, dim=-1) for parts in zip(*blocks, strict=True)], None
        output: Any = model.encode(read(0, sound.num_samples))  # its type depends on the family
    except UnusableFileError:
        raise
    except ValueError as error:  # latents that are not finite have no codes
        raise UnusableFileError(f"{path}: the model cannot encode it: {error}") from error
    if not model.codebook_sizes:
        return [output.latent_dist.mean[0], output.latent_dist.std[0]], None
    codes = output.audio_codes
    scales = getattr(output, "audio_scales", None)
    levels = [codes[0]] if isinstance(codes, Tensor) else [level[0] for level in codes]
    return levels, None if scales is None else scales[0]
