"""Tab: paint on a spectrogram, and a pipeline generates the painted part."""

from typing import Any

import gradio as gr
import matplotlib
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from hf_audio_vae.evaluation.plots import FLOOR_DB, spectrogram_columns
from hf_audio_vae.studio.components import menu, run_on, sound_input, sound_output
from hf_audio_vae.studio.generate import MISSING, class_menu, condition, run
from hf_audio_vae.studio.workshop import EXAMPLES, Workshop

HEIGHT, WIDTH = 320, 900  # pixels of the picture
WINDOW, HOP = 1024, 256
HELP = """
Show the spectrogram, paint over it, and generate the painted part. The pipeline generates the painted time ranges; of
these, the painted frequencies replace those of the sound. The rest of the sound stays as it is.
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
        steps = gr.Slider(1, 200, 50, step=1, label="denoising steps", elem_id="inpaint-steps")
        seed = gr.Number(0, precision=0, minimum=0, label="seed", elem_id="inpaint-seed")
    show = gr.Button("Show the spectrogram", elem_id="inpaint-show")
    editor = gr.ImageEditor(
        label="frequency over time",
        elem_id="inpaint-editor",
        sources=(),
        transforms=(),
        layers=False,
        canvas_size=(WIDTH, HEIGHT),
        brush=gr.Brush(default_size=40, colors=["#00ffff"], default_color="#00ffff"),
    )
    button = gr.Button("Generate the painted part", variant="primary", elem_id="inpaint-button")
    result = sound_output("result", "inpaint-result")

    def show_spectrogram(path: str | None, chosen: str) -> np.ndarray:
        return picture(workshop.read(path, workshop.pipelines[chosen].vae))

    def inpaint(
        path: str | None, chosen: str, label: str, steps: int, seed: int, painting: dict[str, Any] | None
    ) -> str:
        pipeline = workshop.pipelines[chosen]
        waveform = workshop.read(path, pipeline.vae)
        mask = painted(painting, frames=1 + waveform.shape[-1] // HOP)
        ranges = painted_seconds(mask, waveform.shape[-1], pipeline.sampling_rate)
        generated = run(pipeline, steps, seed, 4.0, init_audio=waveform, mask=ranges, **condition("", label))
        return workshop.write(blend(waveform, generated.cpu().float(), mask), pipeline.sampling_rate)

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


def painted(painting: dict[str, Any] | None, *, frames: int) -> Tensor:
    """Return what is painted over a `picture`, bool (bins, frames) of the spectrum.

    Args:
        painting (`dict`): Value of the editor; each of its `layers` is an image (height, width, 4).
        frames (`int`): Frames of the spectrum.

    Raises:
        ValueError: Nothing is painted.
    """
    layers = (painting or {}).get("layers") or []
    opaque = [torch.from_numpy(np.ascontiguousarray(layer[..., 3])) > 0 for layer in layers if layer.shape[-1] == 4]
    if not any(bool(layer.any()) for layer in opaque):
        raise ValueError("nothing is painted; show the spectrogram, and paint over the part to generate.")
    mask = torch.stack(opaque).any(dim=0).flip(0)  # low frequencies first
    return F.interpolate(mask[None, None].float(), (WINDOW // 2 + 1, frames), mode="nearest")[0, 0] > 0


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


def blend(waveform: Tensor, generated: Tensor, mask: Tensor) -> Tensor:
    """Replace bins of the spectrum of a waveform by those of another; both are (audio_channels, time).

    Args:
        waveform (`torch.Tensor` of shape `(audio_channels, time)`): Sound to change.
        generated (`torch.Tensor`, same shape): Sound with the new bins.
        mask (`torch.Tensor` of shape `(bins, frames)`): True where a bin is replaced.
    """
    window = torch.hann_window(WINDOW)
    old, new = (torch.stft(x, WINDOW, HOP, window=window, return_complex=True) for x in (waveform, generated))
    spectrum = torch.where(mask, new, old)
    return torch.istft(spectrum, WINDOW, HOP, window=window, length=waveform.shape[-1])
