"""The `decode` command."""

import argparse
from collections.abc import Callable, Iterator, Sequence
from functools import cache, partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from hf_audio_vae.audio.io import write_audio_blocks
from hf_audio_vae.cli.durations import DecodingTime
from hf_audio_vae.cli.inputs import latent_files
from hf_audio_vae.cli.outputs import Outputs, printable
from hf_audio_vae.cli.sound import load_coder, process_files
from hf_audio_vae.files import check_regular_file
from hf_audio_vae.files.fingerprints import fingerprint_differences
from hf_audio_vae.files.pretrained import DTYPES
from hf_audio_vae.latents.storage import (
    LOCATION,
    LatentsInfo,
    StoredCodes,
    holds_codes,
    load_codes,
    load_latents,
)
from hf_audio_vae.models import AutoencoderModel
from hf_audio_vae.models.blocks import decode_blocks
from hf_audio_vae.models.fingerprint import model_fingerprint
from hf_audio_vae.models.sound_files import UnusableFileError, check_finite, errors_with_path
from hf_audio_vae.runtime.chunking import Frames


@torch.no_grad()
def run(arguments: argparse.Namespace) -> int:
    """Run the command."""
    files = latent_files(arguments.files, arguments.output_dir)
    outputs = Outputs(files, arguments.output_dir, [".wav"], overwrite=arguments.overwrite)
    infos: dict[Path, LatentsInfo] = {}

    def read_info(path: Path) -> None:
        info = load_file(path)[0]
        if info.num_samples < 1 or info.sampling_rate < 1:
            length = f"{info.num_samples} samples at {info.sampling_rate} Hz"
            raise UnusableFileError(f"{path} claims to hold {length}; encode the file again.")
        infos[path] = info

    code = process_files("decode", list(files), read_info)
    if not infos:
        return code
    name = use_recorded_model(arguments, list(infos.values()))
    model = load_coder(name, arguments)
    fingerprint, decoding_time = model_fingerprint(model), DecodingTime(model)

    @cache
    def remedy(recorded: str) -> str:
        """Name the dtype if only a conversion of the weights differs, else the model."""
        for dtype, torch_dtype in DTYPES.items():
            if not fingerprint_differences(recorded, model_fingerprint(model, dtype=torch_dtype)):
                return f"its weights in {dtype} are the right ones: add --torch_dtype {dtype}"
        return "name the right model with --model" + (", or leave out --torch_dtype" if arguments.torch_dtype else "")

    def process(path: Path) -> None:
        if differing := fingerprint_differences(infos[path].weights, fingerprint):
            raise UnusableFileError(
                f"{path} was encoded with other {' and '.join(differing)} than {name} has; "
                f"{remedy(infos[path].weights)}."
            )
        with errors_with_path(path):
            infos[path].check_model(
                sampling_rate=model.sampling_rate,
                audio_channels=model.config.audio_channels,
                hop_length=model.hop_length,
            )
        decoding_time.announce(outputs.stems[path], infos[path].num_samples)
        with outputs.writing(path) as (target,):
            write_audio_blocks(target, decoded(path, model), infos[path].num_samples, infos[path].sampling_rate)
        info = infos[path]
        print(f"{printable(outputs[path])}: {info.num_samples / info.sampling_rate:.3f} s at {info.sampling_rate} Hz")

    return max(code, process_files("decode", list(infos), process))


def use_recorded_model(arguments: argparse.Namespace, infos: Sequence[LatentsInfo]) -> str:
    """Return the model to load; without `--model`, the one of the files, from the subfolder and so on in them."""
    if arguments.model:
        return str(arguments.model)
    models = {(info.model, *(getattr(info, option) for option in LOCATION)) for info in infos}
    if len(models) > 1:
        names = sorted(" ".join(filter(None, model)) for model in models)
        raise ValueError(
            f"the files come from several models, {names}; decode the files of each model in a separate call."
        )
    name, *location = models.pop()
    for option, value in zip(LOCATION, location, strict=True):
        setattr(arguments, option, getattr(arguments, option) or value)
    return name


def decoded(path: Path, model: AutoencoderModel) -> Iterator[Tensor]:
    """Decode a file -> (audio_channels, time) in blocks, up to the length of the encoded sound."""
    info, frames, decode = load_file(path)
    left = info.num_samples
    with errors_with_path(path):
        blocks = decode_blocks(model, decode(model), frames)
    while left > 0:
        try:
            block = next(blocks)[0, :, :left].cpu()
        except StopIteration:
            raise UnusableFileError(f"{path} ends {left} samples too early; encode the file again.") from None
        except ValueError as error:
            raise UnusableFileError(f"{path}: the model cannot decode it: {error}") from error
        check_finite(path, block)
        left -= block.shape[-1]
        yield block


def load_file(path: Path) -> tuple[LatentsInfo, Frames, Callable[[AutoencoderModel], Callable[[Any], Tensor]]]:
    """Read a file of latents or codes -> metadata, frames with a batch of 1, and a decoder of parts of them."""
    with errors_with_path(path):
        check_regular_file(path)
        if not holds_codes(path):
            mean, _, info = load_latents(path)
            return info, mean[None], lambda model: lambda z: model.decode(z.to(model.device, model.dtype)).sample
        stored = load_codes(path)
    levels = stored.codes if isinstance(stored.codes, tuple) else (stored.codes,)
    batched = [level[None] for level in levels]
    return (
        stored.info,
        batched if isinstance(stored.codes, tuple) else batched[0],
        partial(code_decoder, stored),
    )


def code_decoder(stored: StoredCodes, model: AutoencoderModel) -> Callable[[Any], Tensor]:
    """Return a function of codes, or of the codes of each level -> (1, audio_channels, time)."""
    stored.check_codebooks(model.codebook_sizes)
    options = {} if stored.scales is None else {"audio_scales": stored.scales[None].to(model.device)}

    def decode(codes: Tensor | Sequence[Tensor]) -> Tensor:
        moved = codes.to(model.device) if isinstance(codes, Tensor) else tuple(c.to(model.device) for c in codes)
        return model.decode(moved, **options).audio_values

    return decode
