"""The `map` command."""

import argparse
import json
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path, PurePath
from typing import Any

import torch
from torch import Tensor
from tqdm.auto import tqdm

from hf_audio_vae.cli.clips import LabelledClip, check_items, labelled_clips, open_dataset
from hf_audio_vae.cli.comparing import check_output_outside_data, names_in_tables
from hf_audio_vae.cli.inspect import load_latent_coder
from hf_audio_vae.cli.outputs import new_files, printable
from hf_audio_vae.cli.sound import check_seconds, load_coder
from hf_audio_vae.data.clips import as_utf8
from hf_audio_vae.data.folders import counted
from hf_audio_vae.data.latents import class_name
from hf_audio_vae.evaluation.sound_maps import MappedClip, SoundMap, map_figure, map_page, mp3_preview
from hf_audio_vae.files import replacing
from hf_audio_vae.latents import PROJECTIONS, clip_vector
from hf_audio_vae.models import AutoencoderModel
from hf_audio_vae.models.sound_files import check_finite
from hf_audio_vae.pipelines import CodeLatents
from hf_audio_vae.tokens.storage import holds_tokens

OUTPUTS = ("map.png", "map.json", "map.html")
MAX_PAGE_BYTES = 64 << 20  # of the sounds of a page; larger ones open slowly
OF_ONE_DATASET = ("dataset_config_name", "dataset_revision", "data_files")
OF_DATASETS = (*OF_ONE_DATASET, "audio_column", "label_column")


@torch.no_grad()
def run(arguments: argparse.Namespace) -> int:
    """Run the command; 1 if some items cannot be read."""
    check(arguments)
    model = load(arguments)
    targets = new_files(arguments.output_dir, OUTPUTS, overwrite=arguments.overwrite, inputs=files_of(arguments))
    skipped = dict[str, str]()
    clips, vectors, sounds = encoded(model, arguments, skipped)
    names = ", ".join(map(str, [*arguments.sounds, *filter(None, [arguments.dataset_name])]))
    code = check_items(argparse.Namespace(**{**vars(arguments), "dataset_name": names}), len(clips), skipped)
    if len(clips) < 2:
        raise ValueError(f"{clips[0].path} is the only sound; a map needs two or more.")
    sound_map = SoundMap.of(
        with_classes(clips, arguments),
        torch.stack(vectors),
        project=PROJECTIONS[arguments.projection],
        num_neighbours=arguments.neighbours,
    )
    write(targets, sound_map, sounds, arguments)
    print(report(sound_map, targets, sounds))
    return code


def check(arguments: argparse.Namespace) -> None:
    """Raise `ValueError` if arguments do not fit together, or `ModuleNotFoundError` without UMAP."""
    datasets = dataset_names(arguments)
    if not arguments.sounds and not datasets:
        raise ValueError("there is nothing to map; name sounds or folders, or --dataset_name.")
    if missing := [path for path in arguments.sounds if not path.exists()]:
        raise ValueError(f"there is no sound or folder {missing[0]}; a data set of the Hub is a --dataset_name.")
    for name in OF_DATASETS:
        if getattr(arguments, name) is not None and not datasets:
            raise ValueError(f"--{name} has no effect without a folder or --dataset_name; leave it out.")
    for name in OF_ONE_DATASET:
        if getattr(arguments, name) is not None and len(datasets) > 1:
            raise ValueError(f"--{name} would be that of all {len(datasets)} data sets; map one of them.")
    if arguments.label_column is not None and files_of(arguments):
        raise ValueError(f"--label_column has no value for the file {files_of(arguments)[0]}; name its folder.")
    if arguments.neighbours < 1:
        raise ValueError(f"--neighbours is {arguments.neighbours}; give 1 or more.")
    if not 0 <= arguments.preview_seconds < math.inf:
        raise ValueError(f"--preview_seconds is {arguments.preview_seconds}; give 0 for none, or a length above 0.")
    check_seconds(arguments.max_seconds)
    check_output_outside_data(arguments, *datasets)
    if arguments.projection == "umap":
        import umap  # noqa: F401  # says that it is missing before the sounds are encoded


def files_of(arguments: argparse.Namespace) -> list[Path]:
    """Return the sounds that are named one by one."""
    return [path for path in arguments.sounds if not path.is_dir()]


def dataset_names(arguments: argparse.Namespace) -> list[str]:
    """Return the names of the data sets: the folders, and --dataset_name."""
    folders = [str(path) for path in arguments.sounds if path.is_dir()]
    return folders + [arguments.dataset_name] * (arguments.dataset_name is not None)


def load(arguments: argparse.Namespace) -> AutoencoderModel | CodeLatents:
    """Load a model of sound, or a TokenVAE with its codec."""
    if holds_tokens(arguments.model, revision=arguments.revision):
        return load_latent_coder(arguments)
    if arguments.autoencoder is not None:
        raise ValueError(
            f"--autoencoder names the codec of a TokenVAE, and {arguments.model} is no TokenVAE; leave it out."
        )
    return load_coder(arguments.model, arguments, decodes=False)


def streams(arguments: argparse.Namespace) -> Iterator[Iterable[Mapping[str, Any]]]:
    """Yield the rows of the files that are named one by one, and those of each data set."""
    yield [{"audio": {"bytes": None, "path": str(path)}} for path in files_of(arguments)]
    for name in dataset_names(arguments):
        own = argparse.Namespace(**{**vars(arguments), "dataset_name": name})
        yield open_dataset(own, keep_columns=arguments.label_column is not None)


def encoded(
    model: AutoencoderModel | CodeLatents, arguments: argparse.Namespace, skipped: dict[str, str]
) -> tuple[list[MappedClip], list[Tensor], list[bytes]]:
    """Encode all clips one by one; return what is known of each, its vector, and the start of its sound."""
    clips, vectors, previews = list[MappedClip](), list[Tensor](), Previews(arguments.preview_seconds)
    with tqdm(unit="s of sound", disable=None, leave=False) as bar:
        for stream in streams(arguments):
            for clip in labelled_clips(stream, model, arguments, skipped):
                vectors.append(vector_of(model, clip))
                seconds = clip.waveform.shape[-1] / model.sampling_rate
                label = class_name(clip.label)
                clips.append(MappedClip(clip.path, clip.name, label and as_utf8(label), seconds))
                if arguments.preview_seconds:
                    previews.add(clip.waveform, model.sampling_rate)
                bar.update(seconds)
    return clips, vectors, previews.sounds


class Previews:
    """The sounds of a page, up to the size of a page that opens quickly.

    Args:
        seconds (`float`): Length of each.
    """

    def __init__(self, seconds: float) -> None:
        self.seconds, self.sounds = seconds, list[bytes]()
        self._size = 0

    def add(self, waveform: Tensor, sampling_rate: int) -> None:
        """Add the start of a clip, (audio_channels, time); raises `ValueError` if the page gets too large."""
        self.sounds.append(mp3_preview(waveform, sampling_rate, self.seconds))
        self._size += 4 * math.ceil(len(self.sounds[-1]) / 3)  # in base64
        if self._size > MAX_PAGE_BYTES:
            raise ValueError(
                f"the first {len(self.sounds)} sounds of {self.seconds:g} s take more than {MAX_PAGE_BYTES >> 20} MiB "
                f"of the page; give a shorter --preview_seconds, 0 for a page without sound, or fewer sounds."
            )


def vector_of(model: AutoencoderModel | CodeLatents, clip: LabelledClip) -> Tensor:
    """Return the vector of a clip, (dimensions,): that of the posterior's mode, or of each level of codes."""
    output: Any = model.encode(clip.waveform[None].to(model.device))
    levels: tuple[Tensor, ...]
    if isinstance(model, CodeLatents) or not model.codebook_sizes:
        levels = (output.latent_dist.mode(),)
    else:
        levels = model.latents_of_codes(output.audio_codes)
    check_finite(clip.path, *levels)
    return torch.cat([clip_vector(level[0].cpu()) for level in levels])


def with_classes(clips: Sequence[MappedClip], arguments: argparse.Namespace) -> list[MappedClip]:
    """Without --label_column, make the folders of the files the classes, if there are several."""
    if arguments.label_column is not None:
        return list(clips)
    folders = [PurePath(clip.path).parent.name or None for clip in clips]
    if len(set(folders)) < 2:
        return list(clips)
    return [replace(clip, label=folder) for clip, folder in zip(clips, folders, strict=True)]


def write(
    targets: Sequence[Path], sound_map: SoundMap, sounds: Sequence[bytes], arguments: argparse.Namespace
) -> None:
    """Write the picture, the numbers and the page."""
    picture, numbers, page = targets
    title = f"sounds in the latents of {printable(names_in_tables([arguments.model])[0])}"
    origin = {"model": printable(arguments.model), "projection": arguments.projection}
    with replacing(picture) as hidden:
        map_figure(sound_map, title).savefig(hidden, format="png", dpi=130)
    with replacing(numbers) as hidden:
        content = {**origin, "max_seconds": arguments.max_seconds, **sound_map.numbers()}
        hidden.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
    with replacing(page) as hidden:
        hidden.write_bytes(map_page(sound_map, sounds, title).encode())


def report(sound_map: SoundMap, targets: Sequence[Path], sounds: Sequence[bytes]) -> str:
    """Return what was mapped, and the files."""
    lines = [f"{len(sound_map.clips)} sounds; {'; '.join(sound_map.projection.labels)}"]
    if (agreement := sound_map.agreement) is not None:
        share, by_chance = agreement
        classes = [label for label in sound_map.labels if label is not None]
        missing = sum(clip.label is None for clip in sound_map.clips)
        without = f", {counted(missing, 'sound')} without a class" if missing else ""
        lines.append(
            f"{len(classes)} classes{without}; the nearest sound has the same class for {share:.1%} of the sounds"
            f"{' that have one' if missing else ''}, by chance for {by_chance:.1%}"
        )
    *others, page = map(printable, targets)
    size = targets[-1].stat().st_size / 2**20
    return "\n".join([*lines, *others, f"{page}: {size:.1f} MiB, {'with' if sounds else 'without'} sound"])
