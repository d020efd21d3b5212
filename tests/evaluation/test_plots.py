from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from hf_audio_vae.audio import read_audio
from hf_audio_vae.audio.spectrogram import log_spectrogram
from hf_audio_vae.evaluation import (
    CodeStatistics,
    LatentStatistics,
    codes_figure,
    latents_figure,
    reconstruction_figure,
)
from hf_audio_vae.evaluation.plots import (
    ACTIVE,
    INACTIVE,
    figure_pixels,
    reconstruction_figure_in_blocks,
    spectrogram_columns,
)
from hf_audio_vae.modules.distributions import DiagonalGaussian

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


@pytest.mark.slow
def test_pixels_are_the_picture():
    figure = reconstruction_figure(*pair("speech_en_0890.flac"))
    pixels = figure_pixels(figure)
    assert pixels.dtype == torch.uint8
    assert pixels.shape == (700, 900, 3)  # figure of 9 by 7 inches at 100 dots an inch
    assert (pixels[0, 0] == 255).all()
    assert len(pixels.reshape(-1, 3).unique(dim=0)) > 100


def latents(channels: int) -> LatentStatistics:
    """Channels of a rising spread, the first of them collapsed, and the second inactive at a high KL."""
    noise = torch.randn(1, channels, 300, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    mean = noise * torch.arange(channels)[:, None] / channels
    std = torch.full_like(mean, 0.8)
    if channels > 1:
        mean[:, 1] = 3.0
    statistics = LatentStatistics(50.0)
    statistics.add(DiagonalGaussian(mean, std))
    return statistics


def heights(axes) -> list[float]:
    return [bar.get_height() for bar in axes.patches if bar.get_width() < 1]


@pytest.mark.parametrize("channels", [2, 8, 64])
def test_the_channel_with_the_most_bits_stands_first(channels):
    statistics = latents(channels)
    bits = latents_figure(statistics).axes[0]
    named = dict(zip((int(label.get_text()) for label in bits.get_xticklabels()), heights(bits), strict=True))
    assert named == pytest.approx(dict(enumerate(statistics.bits_per_second.tolist())))
    assert heights(bits) == sorted(heights(bits), reverse=True)


def test_inactive_channels_have_another_colour():
    statistics = latents(8)
    bits, _, kurtosis, _ = latents_figure(statistics).axes
    for axes in (bits, kurtosis):
        channels = [int(label.get_text()) for label in axes.get_xticklabels()]
        colours = [bar.get_facecolor() for bar in axes.patches]
        expected = [ACTIVE if statistics.active[channel] else INACTIVE for channel in channels]
        assert colours == [matplotlib.colors.to_rgba(name) for name in expected]
    assert not statistics.active[:2].any()
    assert "6 of 8 channels active" in bits.get_title()


def test_each_channels_spread_and_kurtosis_are_drawn():
    statistics = latents(8)
    order = statistics.kl_nats.argsort(descending=True)
    _, spread, kurtosis, _ = latents_figure(statistics).axes
    (lines,) = (one for one in spread.collections if hasattr(one, "get_segments"))
    for (low, high), channel in zip((line[:, 1] for line in lines.get_segments()), order, strict=True):
        mean, std = statistics.mean[channel].item(), statistics.std[channel].item()
        assert (low, high) == pytest.approx((mean - std, mean + std))
    assert heights(kurtosis) == pytest.approx(statistics.excess_kurtosis[order].tolist())


def test_the_spectrum_is_drawn_with_its_effective_rank():
    statistics = latents(8)
    spectrum = latents_figure(statistics).axes[3]
    eigenvalues, rank = spectrum.lines
    assert eigenvalues.get_xdata().tolist() == list(range(1, 9))
    assert eigenvalues.get_ydata().tolist() == pytest.approx(statistics.eigenvalues.tolist())
    assert rank.get_xdata() == pytest.approx([statistics.effective_rank] * 2)


@pytest.mark.parametrize("channels", [1, 200])
@pytest.mark.filterwarnings("error")
def test_the_numbers_of_any_count_of_channels_do_not_overlap(channels):
    figure = latents_figure(latents(channels), title="the latents")  # of a single one, all zeros
    assert figure_pixels(figure).shape == (1000, 1100, 3)
    assert figure.get_suptitle() == "the latents"
    for axes in figure.axes[:3]:
        boxes = [label.get_window_extent() for label in axes.get_xticklabels()]
        assert all(left.x1 + 3 < right.x0 for left, right in zip(boxes, boxes[1:], strict=False))


def codes(num_codebooks: int, size: int = 16, frames: int = 400) -> CodeStatistics:
    """The first codebook has one code, each of the others more of them, some more frequent than others."""
    generator = torch.Generator().manual_seed(0)
    weights = torch.arange(1, size + 1).double() ** torch.linspace(-40, 0, num_codebooks)[:, None].double()
    statistics = CodeStatistics((size,) * num_codebooks, tuple(50.0 + i for i in range(num_codebooks)))
    drawn = torch.multinomial(weights, frames, replacement=True, generator=generator)
    statistics.add([level[None, None] for level in drawn])
    return statistics


@pytest.mark.parametrize("num_codebooks", [1, 5])
def test_usage_and_perplexity_stand_side_by_side(num_codebooks):
    statistics = codes(num_codebooks)
    shares = codes_figure(statistics).axes[0]
    drawn = heights(shares)
    assert drawn[:num_codebooks] == pytest.approx(statistics.usage.tolist())
    assert drawn[num_codebooks:] == pytest.approx((statistics.perplexity / 16).tolist())
    (expected,) = (one for one in shares.collections if hasattr(one, "get_segments"))
    assert [line[0, 1] for line in expected.get_segments()] == pytest.approx(statistics.uniform_usage.tolist())
    assert f"{int(statistics.dead_codes.sum())} of {16 * num_codebooks} codes never used" in shares.get_title()


def test_the_entropy_is_drawn_within_the_bitrate():
    statistics = codes(5)
    bits = codes_figure(statistics).axes[1]
    drawn = heights(bits)
    assert drawn[:5] == pytest.approx(statistics.nominal_bits_per_second.tolist())
    assert drawn[5:] == pytest.approx(statistics.entropy_bits_per_second.tolist())
    assert f"{statistics.bitrate_efficiency:.1%}" in bits.get_title()


def test_the_codes_that_were_used_are_drawn_by_falling_share():
    statistics = codes(5)
    frequencies = codes_figure(statistics).axes[2]
    lines = [line for line in frequencies.lines if line.get_marker() == "."]
    assert len(lines) == 5
    for line, counts in zip(lines, statistics.counts, strict=True):
        used = [count / 400 * 16 for count in sorted(counts.tolist(), reverse=True) if count]
        assert line.get_ydata().tolist() == pytest.approx(used)
        assert line.get_xdata().tolist() == pytest.approx([(rank + 1) / 16 for rank in range(len(used))])


@pytest.mark.parametrize("num_codebooks", [1, 200])
@pytest.mark.filterwarnings("error")
def test_the_numbers_of_any_count_of_codebooks_do_not_overlap(num_codebooks):
    figure = codes_figure(codes(num_codebooks), title="the codes")
    assert figure_pixels(figure).shape == (900, 1100, 3)
    assert figure.get_suptitle() == "the codes"
    for axes in figure.axes[:2]:
        boxes = [label.get_window_extent() for label in axes.get_xticklabels()]
        assert all(left.x1 + 3 < right.x0 for left, right in zip(boxes, boxes[1:], strict=False))


@pytest.mark.parametrize("time", [1, 600, 262_144, 300_007])
def test_a_spectrogram_in_blocks_is_that_of_the_whole(time):
    waveform = torch.randn(2, time, generator=torch.Generator().manual_seed(0))
    columns = spectrogram_columns(lambda start, stop: waveform[:, start:stop], time)
    torch.testing.assert_close(columns, log_spectrogram(waveform.mean(dim=0)), rtol=0, atol=1e-3)


def test_a_long_spectrogram_has_the_mean_power_of_several_frames_in_a_column():
    waveform = torch.randn(1, 600_000, generator=torch.Generator().manual_seed(0))
    columns = spectrogram_columns(lambda start, stop: waveform[:, start:stop], 600_000, max_columns=100)
    power = 10 ** (log_spectrogram(waveform[0]) / 10)
    expected = torch.stack([part.mean(dim=1) for part in power.split(24, dim=1)], dim=1)  # 2344 frames
    assert columns.shape[1] == 98
    torch.testing.assert_close(10 ** (columns / 10), expected, rtol=1e-3, atol=1e-9)


def test_a_title_is_literal():
    original, reconstruction, sampling_rate = pair(SOUNDS[0])
    read = [lambda start, stop, x=x: x[:, start:stop] for x in (original, reconstruction)]
    figure = reconstruction_figure_in_blocks(*read, original.shape[-1], sampling_rate, r"$\frac{1}$ of $x")
    figure_pixels(figure)
    assert figure.get_suptitle() == r"$\frac{1}$ of $x"


def test_the_titles_of_latents_and_codes_are_literal():
    for statistics, draw in ((latents(4), latents_figure), (codes(2), codes_figure)):
        figure = draw(statistics, "$^$ of x")
        figure_pixels(figure)
        assert figure.get_suptitle() == "$^$ of x"
