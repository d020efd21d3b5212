"""The `reconstruct` command."""

import argparse
import time
from collections.abc import Iterator
from pathlib import Path

import torch
from torch import Tensor

from hf_audio_vae.audio import open_audio
from hf_audio_vae.audio.io import AudioReader, write_audio_blocks
from hf_audio_vae.cli.durations import DecodingTime
from hf_audio_vae.cli.inputs import sound_files
from hf_audio_vae.cli.outputs import Outputs, printable
from hf_audio_vae.cli.sound import Notices, load_coder, open_sound, process_files
from hf_audio_vae.cli.tables import print_remark, print_table
from hf_audio_vae.evaluation.metrics import reconstruction_metrics_in_blocks
from hf_audio_vae.evaluation.plots import Read, reconstruction_figure_in_blocks
from hf_audio_vae.evaluation.reports import METRICS
from hf_audio_vae.models import AutoencoderModel
from hf_audio_vae.models.blocks import reconstruct_blocks
from hf_audio_vae.models.sound_files import Sound, check_finite

ENDINGS = (".original.wav", ".reconstruction.wav", ".png")
READ_BLOCK = 1 << 18  # samples


@torch.no_grad()
def run(arguments: argparse.Namespace) -> int:
    """Run the command."""
    files = sound_files(arguments.files, arguments.output_dir)
    outputs = Outputs(files, arguments.output_dir, ENDINGS, overwrite=arguments.overwrite)
    model = load_coder(arguments.model, arguments)
    decoding_time, rows = DecodingTime(model), list[list[str | float]]()

    notices = Notices()

    def process(path: Path) -> None:
        with open_sound(model, path, notices) as sound, outputs.writing(path) as (original, reconstruction, picture):
            name = printable(outputs.stems[path])
            decoding_time.announce(name, sound.num_samples)
            rows.append([name, *reconstruct(model, path, sound, original, reconstruction, picture, name)])

    try:
        code = process_files("reconstruct", list(files), process, notices)
    finally:
        if rows:
            names = ("si_sdr_db", "multi_resolution_stft", "mel_distance", "real_time_factor")
            print_table({"file": "file", **{name: METRICS[name] for name in names}}, rows, arguments.format)
            print_remark(f"sound and figures are in {printable(arguments.output_dir)}", arguments.format)
    return code


def reconstruct(
    model: AutoencoderModel, path: Path, sound: Sound, original: Path, reconstruction: Path, picture: Path, title: str
) -> list[float]:
    """Write the three files of a sound; return the values of its row in the table."""
    time_samples, rate = sound.num_samples, model.sampling_rate
    blocks = (sound.read(start, min(start + READ_BLOCK, time_samples)) for start in range(0, time_samples, READ_BLOCK))
    write_audio_blocks(original, blocks, time_samples, rate)
    with open_audio(original) as source:
        clock = _Clock(
            reconstruct_blocks(model, lambda a, b: read_of(source)(a, b)[None].to(model.device), time_samples)
        )
        write_audio_blocks(reconstruction, _checked(path, clock), time_samples, rate)
        with open_audio(reconstruction) as output:
            reads = read_of(output), read_of(source)
            metrics = reconstruction_metrics_in_blocks(*reads, time_samples, rate)
            figure = reconstruction_figure_in_blocks(*reads[::-1], time_samples, rate, title)
    figure.savefig(picture, dpi=120)
    return [*metrics.values(), time_samples / rate / clock.seconds]


def read_of(reader: AudioReader) -> Read:
    """Return a function of the first and last sample."""
    return lambda start, stop: reader.read(start, stop - start)


def _checked(path: Path, blocks: Iterator[Tensor]) -> Iterator[Tensor]:
    for block in blocks:
        check_finite(path, block)
        yield block[0]


class _Clock(Iterator[Tensor]):
    """Blocks on the CPU, with the seconds that computing them took."""

    def __init__(self, blocks: Iterator[Tensor]) -> None:
        self._blocks, self.seconds = blocks, 0.0

    def __next__(self) -> Tensor:
        started = time.perf_counter()
        try:
            return next(self._blocks).cpu()  # waits for a GPU to finish
        finally:
            self.seconds += time.perf_counter() - started
