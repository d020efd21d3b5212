from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from hf_audio_vae.audio.spectrogram import log_spectrogram

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FLOOR_DB = -80.0  # where `log_spectrogram` ends


def reconstruction_figure(original: Tensor, reconstruction: Tensor, sampling_rate: int, title: str = "") -> "Figure":
    """Draw the spectrograms of a waveform, its reconstruction and their difference, on one scale.

    Args:
        original (`torch.Tensor` of shape `(audio_channels, time)`): What went in; channels are averaged.
        reconstruction (`torch.Tensor`, same shape): What came out.
        sampling_rate (`int`): In Hz.
        title (`str`): Line above the picture.

    Returns:
        `matplotlib.figure.Figure`: Frequency in kHz over seconds, level in dB of a full-scale sine.
    """
    from matplotlib.figure import Figure

    rows = {"original": original, "reconstruction": reconstruction, "residual": original - reconstruction}
    figure = Figure(figsize=(9, 7), layout="constrained")
    panels = figure.subplots(len(rows), 1, sharex=True, sharey=True)
    seconds, nyquist_khz = original.shape[-1] / sampling_rate, sampling_rate / 2000
    for panel, (name, waveform) in zip(panels, rows.items(), strict=True):
        level = log_spectrogram(waveform.detach().float().cpu().mean(dim=0))  # (bins, frames)
        extent = (0.0, seconds, 0.0, nyquist_khz)
        image = panel.imshow(
            level.numpy(), origin="lower", aspect="auto", extent=extent, vmin=FLOOR_DB, vmax=0.0, cmap="magma"
        )
        panel.set_ylabel(f"{name}\nkHz")
    panels[-1].set_xlabel("seconds")
    figure.colorbar(image, ax=panels, label="dB full scale")
    figure.suptitle(title)
    return figure


def figure_pixels(figure: "Figure") -> Tensor:
    """Render a figure for a tracker; -> uint8 (height, width, 3)."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return torch.from_numpy(np.asarray(canvas.buffer_rgba())[..., :3].copy())
