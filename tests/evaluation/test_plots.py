from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from hf_audio_vae.audio import read_audio
from hf_audio_vae.audio.spectrogram import log_spectrogram
from hf_audio_vae.evaluation import reconstruction_figure
from hf_audio_vae.evaluation.plots import figure_pixels

matplotlib = pytest.importorskip("matplotlib")

DATA = Path(__file__).parents[2] / "data/held_out"
SOUNDS = ["loop_breakbeat.flac", "speech_en_0890.flac"]


def pair(name: str) -> tuple[Tensor, Tensor, int]:
    """A real sound, what six bits leave of it, and its rate in Hz."""
    waveform, sampling_rate = read_audio(DATA / name)
    return waveform, (waveform * 32).round() / 32, sampling_rate


def panels(figure) -> list:
    return [axes for axes in figure.axes if axes.images]


@pytest.mark.parametrize("name", SOUNDS)
def test_the_three_panels_share_one_scale(name):
    figure = reconstruction_figure(*pair(name))
    limits = {axes.images[0].get_clim() for axes in panels(figure)}
    assert [axes.get_ylabel().split("\n")[0] for axes in panels(figure)] == ["original", "reconstruction", "residual"]
    assert len(limits) == 1
    assert {axes.images[0].get_cmap().name for axes in panels(figure)} == {"magma"}


@pytest.mark.parametrize("name", SOUNDS)
def test_each_panel_shows_its_spectrogram(name):
    original, reconstruction, sampling_rate = pair(name)
    waveforms = (original, reconstruction, original - reconstruction)
    figure = reconstruction_figure(original, reconstruction, sampling_rate)
    for axes, waveform in zip(panels(figure), waveforms, strict=True):
        level = log_spectrogram(waveform.mean(dim=0)).numpy()
        np.testing.assert_array_equal(np.asarray(axes.images[0].get_array()), level)
        assert axes.images[0].origin == "lower"


@pytest.mark.parametrize("name", SOUNDS)
def test_the_axes_are_seconds_and_kilohertz(name):
    original, reconstruction, sampling_rate = pair(name)
    figure = reconstruction_figure(original, reconstruction, sampling_rate)
    for axes in panels(figure):
        assert axes.images[0].get_extent() == pytest.approx(
            [0, original.shape[-1] / sampling_rate, 0, sampling_rate / 2000]
        )
        assert axes.get_ylabel().endswith("kHz")
    assert panels(figure)[-1].get_xlabel() == "seconds"


def test_a_tone_is_drawn_at_its_frequency():
    sampling_rate = 16000
    tone = torch.sin(2 * torch.pi * 3000 * torch.arange(sampling_rate) / sampling_rate)[None]
    image = panels(reconstruction_figure(tone, 0 * tone, sampling_rate))[0].images[0]
    rows = np.asarray(image.get_array())
    _, _, low, high = image.get_extent()
    frequency_khz = low + (rows.mean(axis=1).argmax() + 0.5) / len(rows) * (high - low)
    assert frequency_khz == pytest.approx(3.0, abs=0.016)  # a bin


def test_the_residual_of_a_perfect_reconstruction_is_at_the_floor():
    original, _, sampling_rate = pair("loop_breakbeat.flac")
    levels = [
        np.asarray(axes.images[0].get_array()) for axes in panels(reconstruction_figure(original, original, 44100))
    ]
    np.testing.assert_array_equal(levels[0], levels[1])
    assert levels[2].max() == levels[2].min()
    assert levels[2].max() <= levels[0].min()


def test_the_residual_of_a_lost_half_is_the_other_half():
    original, _, sampling_rate = pair("loop_breakbeat.flac")
    figure = reconstruction_figure(original, original / 2, sampling_rate)
    reconstruction, residual = (np.asarray(axes.images[0].get_array()) for axes in panels(figure)[1:])
    np.testing.assert_array_equal(reconstruction, residual)


def test_the_title_is_above_the_picture():
    figure = reconstruction_figure(*pair("speech_en_0890.flac"), title="speech")
    assert figure.get_suptitle() == "speech"


@pytest.mark.parametrize("time", [1, 100, 5000])
def test_a_short_waveform_that_needs_gradients_is_drawn(time):
    waveform = torch.randn(2, time, generator=torch.Generator().manual_seed(0)).requires_grad_()
    assert len(panels(reconstruction_figure(waveform, waveform.bfloat16(), 8000))) == 3


def test_pixels_are_the_picture():
    figure = reconstruction_figure(*pair("speech_en_0890.flac"))
    pixels = figure_pixels(figure)
    assert pixels.dtype == torch.uint8
    assert pixels.shape == (700, 900, 3)  # figure of 9 by 7 inches at 100 dots an inch
    assert (pixels[0, 0] == 255).all()
    assert len(pixels.reshape(-1, 3).unique(dim=0)) > 100
