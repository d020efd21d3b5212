"""Tab: paint on a spectrogram, and a pipeline generates the painted part."""

from collections.abc import Sequence
from functools import partial

import gradio as gr
import matplotlib
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from hf_audio_vae.evaluation.plots import FLOOR_DB, spectrogram_columns
from hf_audio_vae.pipelines.time_ranges import TimeRange
from hf_audio_vae.studio.components import (
    menu,
    run_on,
    seed_input,
    sound_input,
    sound_output,
    steps_input,
    uploads_only,
)
from hf_audio_vae.studio.generate import MISSING, class_menu, condition, run
from hf_audio_vae.studio.workshop import EXAMPLES, Workshop

HEIGHT, WIDTH = 320, 900  # pixels of the picture
WINDOW, HOP = 1024, 256
HELP = """
Show the spectrogram, paint over it, and generate the painted part. The pipeline generates the painted time ranges; of
these, the painted frequencies replace those of the sound. The rest of the sound stays as it is. Of a sound that is
longer than the pipeline generates, the pipeline gets the part around the painting.
"""


def tab(workshop: Workshop) -> None:
    """Build the tab."""
    if not workshop.pipelines:
        gr.Markdown(MISSING)
        return
    gr.Markdown(HELP)
    sound = sound_input("sound", "inpaint-sound", str(EXAMPLES / "loop_breakbeat.flac"))
    with gr.Row():
        name = menu("pipeline", workshop.pipelines, "inpaint-pipeline")
        label = class_menu(workshop, "inpaint-class")
        steps, seed = steps_input("inpaint-steps"), seed_input("inpaint-seed")
    show = gr.Button("Show the spectrogram", elem_id="inpaint-show")
    editor = uploads_only(
        gr.ImageEditor(
            label="frequency over time",
            elem_id="inpaint-editor",
            sources=(),
            transforms=(),
            layers=False,
            canvas_size=(WIDTH, HEIGHT),
            brush=gr.Brush(default_size=40, colors=["#00ffff"], default_color="#00ffff"),
        )
    )
    button = gr.Button("Generate the painted part", variant="primary", elem_id="inpaint-button")
    result = sound_output("result", "inpaint-result")

    def show_spectrogram(path: str | None, chosen: str) -> np.ndarray:
        return picture(workshop.read(path, workshop.pipelines[chosen].vae))

    def inpaint(path: str | None, chosen: str, label: str, steps: int, seed: int, layers: Sequence[np.ndarray]) -> str:
        pipeline = workshop.pipelines[chosen]
        waveform = workshop.read(path, pipeline.vae)
        mask = painted(layers, frames=1 + waveform.shape[-1] // HOP)
        ranges, part = part_of(
            painted_seconds(mask, waveform.shape[-1], pipeline.sampling_rate),
            waveform.shape[-1] / pipeline.sampling_rate,
            pipeline.max_seconds,
        )
        first, length = (round(second * pipeline.sampling_rate) for second in part)
        samples = slice(first, first + length)
        sound = waveform[:, samples]
        generated = waveform.clone()
        generated[:, samples] = run(pipeline, steps, seed, 4.0, init_audio=sound, mask=ranges, **condition("", label))
        return workshop.write(blend(waveform, generated, mask), pipeline.sampling_rate)

    run_on(show.click, show_spectrogram, [sound, name], [editor])
    run_on(button.click, inpaint, [sound, name, label, steps, seed, editor], [result])


def picture(waveform: Tensor) -> np.ndarray:
    """Return the spectrogram of a waveform (audio_channels, time) without axes, uint8 (HEIGHT, WIDTH, 3).

    Time is horizontal, and frequency grows upwards from 0 to half the sampling rate.
    """
    levels = spectrogram_columns(lambda start, stop: waveform[:, start:stop], waveform.shape[-1])
    values = F.interpolate(levels.flip(0)[None, None], (HEIGHT, WIDTH), mode="nearest")
    colours = matplotlib.colormaps["magma"](((values[0, 0] - FLOOR_DB) / -FLOOR_DB).clamp(0, 1).numpy())
    return (colours[..., :3] * 255).round().astype(np.uint8)


def painted(layers: Sequence[np.ndarray], *, frames: int) -> Tensor:
    """Return what is painted over a `picture`, bool (bins, frames) of the spectrum.

    Args:
        layers (`Sequence[numpy.ndarray]`): Images over the picture, uint8 (height, width, 4), of any size.
        frames (`int`): Frames of the spectrum.

    Raises:
        ValueError: Nothing is painted.
    """
    mask = torch.zeros(WINDOW // 2 + 1, frames, dtype=torch.bool)
    for layer in layers:
        opaque = torch.from_numpy(layer[::-1, :, 3].copy()) > 0  # low frequencies first
        mask |= F.adaptive_max_pool2d(opaque[None].float(), mask.shape)[0] > 0  # also thin lines
    if not bool(mask.any()):
        raise ValueError("nothing is painted; show the spectrogram, and paint over the part to generate.")
    return mask


def painted_seconds(mask: Tensor, num_samples: int, sampling_rate: int) -> list[tuple[float, float]]:
    """Return the time ranges (start, end) that frames with painted bins cover; a mask is (bins, frames)."""
    columns = F.pad(mask.any(dim=0).int(), (1, 1)).diff()
    starts, ends = (columns == 1).nonzero()[:, 0].tolist(), (columns == -1).nonzero()[:, 0].tolist()
    seconds = num_samples / sampling_rate
    # A frame is centred on a multiple of the hop.
    ranges = [
        (max((start - 0.5) * HOP / sampling_rate, 0.0), min((end - 0.5) * HOP / sampling_rate, seconds))
        for start, end in zip(starts, ends, strict=True)
    ]
    return [(start, end) for start, end in ranges if end > start]


def part_of(ranges: list[TimeRange], seconds: float, longest: float) -> tuple[list[TimeRange], TimeRange]:
    """Return the ranges within the part of a sound that a pipeline gets, and the start and the length of that part.

    Args:
        ranges (`list[(float, float)]`): Painted times in seconds, in order.
        seconds (`float`): Length of the sound.
        longest (`float`): Length that the pipeline generates at most.

    Raises:
        ValueError: The ranges span more than `longest`.
    """
    first, last = ranges[0][0], ranges[-1][1]
    if last - first > longest:
        raise ValueError(
            f"the painted part has {last - first:.2f} s, and the pipeline generates at most {longest:g} s; paint less."
        )
    length = min(seconds, longest)
    start = min(max((first + last - length) / 2, 0.0), seconds - length)  # as much of the sound on both sides
    return [(max(low - start, 0.0), min(high - start, length)) for low, high in ranges], (start, length)


def blend(waveform: Tensor, generated: Tensor, mask: Tensor) -> Tensor:
    """Replace bins of the spectrum of a waveform by those of another; both are (audio_channels, time).

    Args:
        waveform (`torch.Tensor` of shape `(audio_channels, time)`): Sound to change.
        generated (`torch.Tensor`, same shape): Sound with the new bins.
        mask (`torch.Tensor` of shape `(bins, frames)`): True where a bin is replaced.
    """
    window = torch.hann_window(WINDOW)
    stft = partial(torch.stft, n_fft=WINDOW, hop_length=HOP, window=window, pad_mode="constant", return_complex=True)
    old, new = (stft(x) for x in (waveform, generated))
    spectrum = torch.where(mask, new, old)
    return torch.istft(spectrum, WINDOW, HOP, window=window, length=waveform.shape[-1])
