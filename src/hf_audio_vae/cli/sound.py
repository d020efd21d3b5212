"""Helpers of the commands: load a model to the best device, and read waveforms that fit it."""

import argparse
import math
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import torch
from torch import Tensor, nn

from hf_audio_vae.cli.outputs import printable
from hf_audio_vae.data.folders import counted
from hf_audio_vae.files import check_regular_file, check_regular_folder
from hf_audio_vae.files.weights import check_finite_weights
from hf_audio_vae.models import AutoencoderModel, load_autoencoder, sound_files
from hf_audio_vae.models.blocks import encoding_needs_whole_signal, needs_whole_signal
from hf_audio_vae.models.sound_files import Sound, UnusableFileError


def load_model(name: str, arguments: argparse.Namespace) -> AutoencoderModel:
    """Load a model in evaluation mode.

    Raises:
        ValueError: There is no such model, its class is unknown, or it has weights that are not finite.
        OSError: Its folder has a pipe, a socket or a device.
    """
    check_model_files(name, arguments.subfolder)
    try:
        model = load_autoencoder(
            name,
            subfolder=arguments.subfolder,
            revision=arguments.revision,
            variant=arguments.variant,
            torch_dtype=arguments.torch_dtype,
        )
    except OSError as error:
        raise ValueError(f"no model can be loaded from {name!r}: {error}") from error
    check_finite_weights(name, model)
    return model.eval()


def to_best_device(model: AutoencoderModel) -> None:
    """Move a model to the GPU, if there is one."""
    nn.Module.to(model, "cuda" if torch.cuda.is_available() else "cpu")


def load_coder(name: str, arguments: argparse.Namespace, *, decodes: bool = True) -> AutoencoderModel:
    """Load a model for coding long sounds: tiled and fused if possible, on the GPU if there is one.

    Args:
        name (`str`): Folder or Hub id.
        arguments (`argparse.Namespace`): Arguments of `add_location_arguments`.
        decodes (`bool`): The command also decodes; says on stderr if this or encoding needs whole sounds.

    Raises:
        ValueError: See `load_model`.
    """
    model = load_model(name, arguments)
    prepare_coder(name, model, decodes=decodes)
    return model


def prepare_coder(name: str, model: AutoencoderModel, *, decodes: bool = True) -> None:
    """Prepare a loaded model for coding long sounds; see `load_coder`."""
    try:
        model.enable_tiling()
    except ValueError as error:  # layers with an unlimited receptive field
        print(f"{printable(name)}: files are processed as a whole. {error}", file=sys.stderr)
    else:
        if needs_whole_signal(model) if decodes else encoding_needs_whole_signal(model):
            print(
                f"{printable(name)}: files are processed as a whole, as outputs depend on all samples", file=sys.stderr
            )
    to_best_device(model)
    model.fuse()
    model.set_progress_bar_config(disable=None, leave=False)  # on a terminal


def check_model_files(name: str, subfolder: str | None = None) -> None:
    """Check that a model's folder has no pipes and devices, whose reading may never end; raises `OSError`."""
    folder = Path(name, subfolder or "")
    if folder.is_dir():
        check_regular_folder(folder)
    elif folder.exists():
        check_regular_file(folder)


class Notices:
    """Lines on stderr about the files of a command: each kind of line once, then the number of further files."""

    def __init__(self) -> None:
        self._further: dict[str, int] = {}

    def __call__(self, line: str) -> None:
        """Print a line `name: what is converted`, unless another file had the same."""
        kind = line.rpartition(": ")[2]
        if kind not in self._further:
            print(line, file=sys.stderr)
        self._further[kind] = self._further.get(kind, -1) + 1

    def close(self) -> None:
        """Print the number of further files of each kind."""
        for kind, count in self._further.items():
            if count:
                print(f"{counted(count, 'other file')}: {kind}", file=sys.stderr)
        self._further.clear()


def process_files(
    verb: str, files: Sequence[Path], process: Callable[[Path], object], notices: Notices | None = None
) -> int:
    """Process each file; name those that cannot be used on stderr, and close the notices.

    Returns:
        `int`: Exit code: 0, 1 if some files cannot be used, or 2 if none can.
    """
    failed = 0
    for path in files:
        try:
            process(path)
        except UnusableFileError as error:
            print(f"hf-audio-vae {verb}: {printable(error)}", file=sys.stderr)
            failed += 1
    if notices is not None:
        notices.close()
    if 0 < failed < len(files):
        print(f"{failed} of {len(files)} files failed", file=sys.stderr)
    return 2 if failed == len(files) else int(failed > 0)


def check_seconds(max_seconds: float) -> None:
    """Check `--max_seconds`; raises `ValueError`."""
    if not 0 < max_seconds < math.inf:  # also refuses NaN
        raise ValueError(f"--max_seconds is {max_seconds}; give a number of seconds above 0, such as 30.")


@contextmanager
def open_sound(model: AutoencoderModel, path: Path, notices: Notices | None = None) -> Iterator[Sound]:
    """Open a file for a model; print conversions, and a peak beyond full scale, on stderr; see `sound_files`."""
    notice = Notices() if notices is None else notices
    with sound_files.open_sound(model, path, name=printable(path.name), notice=notice) as sound:
        yield sound


def read_for(model: AutoencoderModel, path: Path) -> Tensor:
    """Read a whole file with the model's sampling rate and channels, (audio_channels, time), as `open_sound`."""
    with open_sound(model, path) as sound:
        return sound.read(0, sound.num_samples)
