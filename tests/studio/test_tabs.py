"""What the tabs compute: the score of a blind test, the painted part of a spectrum, the scale of spectrograms."""

import numpy as np
import pytest
import torch
from matplotlib.figure import Figure
from scipy.stats import binomtest

from hf_audio_vae.evaluation.plots import spectrogram_figure
from hf_audio_vae.studio.abx import Trial
from hf_audio_vae.studio.inpaint import HEIGHT, blend, painted, painted_seconds, part_of, picture

RATE = 16000


def tone(hertz: float, seconds: float = 1.0) -> torch.Tensor:
    return 0.5 * torch.sin(2 * torch.pi * hertz * torch.arange(round(seconds * RATE)) / RATE)[None]


def test_the_score_counts_right_answers_with_their_binomial_p() -> None:
    trial = Trial(("a.wav", "b.wav"), x=1)
    assert "Listen" in trial.verdict()
    right = 0
    for answer in (0, 1, 1, 0, 1, 1, 1, 0, 1, 0, 1, 1):
        right += answer == trial.x
        trial = trial.answered(answer)
    assert (trial.right, trial.answers) == (right, 12)
    assert trial.p_value == pytest.approx(binomtest(right, 12, 0.5, alternative="greater").pvalue)
    assert trial.verdict().startswith(f"**{right} of 12 right**")


def test_x_is_drawn_evenly_and_anew() -> None:
    trial, drawn = Trial(("a.wav", "b.wav"), x=0), []
    for _ in range(400):
        trial = trial.answered(0)
        drawn.append(trial.x)
    assert 140 < sum(drawn) < 260  # six standard deviations
    assert 140 < sum(a != b for a, b in zip(drawn, drawn[1:], strict=False)) < 260


def layers_of(shape: tuple[int, int], rows: slice, columns: slice) -> list[np.ndarray]:
    layer = np.zeros((*shape, 4), dtype=np.uint8)
    layer[rows, columns, 3] = 255
    return [layer]


def test_a_painted_rectangle_is_the_time_and_the_frequency_below_it() -> None:
    waveform = tone(1000, seconds=4.0)
    height, width, _ = picture(waveform).shape
    frames = 1 + waveform.shape[-1] // 256
    painting = layers_of((height, width), slice(0, height // 2), slice(width // 4, width // 2))  # upper half
    mask = painted(painting, frames=frames)
    bins = mask.any(dim=1).nonzero()[:, 0]
    assert abs(int(bins.min()) - 257) <= 1
    assert int(bins.max()) == 512
    ((start, end),) = painted_seconds(mask, waveform.shape[-1], RATE)
    assert start == pytest.approx(1.0, abs=0.03)
    assert end == pytest.approx(2.0, abs=0.03)


def test_parts_that_touch_the_ends_stay_within_the_sound() -> None:
    mask = torch.zeros(513, 63, dtype=torch.bool)
    mask[:, :3] = mask[100:, 60:] = True
    ranges = painted_seconds(mask, RATE, RATE)
    assert ranges[0][0] == 0.0
    assert ranges[-1][1] == 1.0
    assert len(ranges) == 2


def test_a_painted_frame_is_the_hop_around_its_centre() -> None:
    mask = torch.zeros(513, 63, dtype=torch.bool)
    mask[5, 10] = True
    assert painted_seconds(mask, RATE, RATE) == [(9.5 * 256 / RATE, 10.5 * 256 / RATE)]


def test_nothing_painted_is_an_error() -> None:
    for painting in ([], layers_of((HEIGHT, 100), slice(0, 0), slice(0, 0))):
        with pytest.raises(ValueError, match="nothing is painted"):
            painted(painting, frames=10)


def test_a_thin_line_and_layers_of_other_sizes_count() -> None:
    line = layers_of((320, 900), slice(0, 320), slice(451, 452))
    columns = painted(line, frames=63).any(dim=0).nonzero()[:, 0]
    assert len(columns) in (1, 2)
    assert int(columns[0]) in (31, 32)
    whole = layers_of((1, 1), slice(0, 1), slice(0, 1))
    assert bool(painted([*line, *whole], frames=63).all())


def test_a_pipeline_gets_the_part_around_the_painting() -> None:
    assert part_of([(1.0, 1.5)], 1.9, 2.0) == ([(1.0, 1.5)], (0.0, 1.9))
    ranges, (start, length) = part_of([(3.0, 3.2), (3.5, 4.0)], 6.0, 2.0)
    assert (start, length) == (2.5, 2.0)
    assert np.allclose(ranges, [(0.5, 0.7), (1.0, 1.5)])
    assert part_of([(5.5, 6.0)], 6.0, 2.0) == ([(1.5, 2.0)], (4.0, 2.0))
    assert part_of([(0.0, 0.25)], 6.0, 2.0) == ([(0.0, 0.25)], (0.0, 2.0))
    with pytest.raises(ValueError, match=r"the painted part has 2\.50 s, and the pipeline generates at most 2 s"):
        part_of([(1.0, 1.5), (3.0, 3.5)], 6.0, 2.0)


@pytest.mark.parametrize("time", [1, 100, 511, 512, 700])
def test_a_sound_shorter_than_a_window_is_blended(time: int) -> None:
    old, new = tone(500)[:, :time], tone(4000)[:, :time]
    mask = torch.ones(513, 1 + time // 256, dtype=torch.bool)
    assert (blend(old, new, mask) - new).abs().max() < 1e-5
    assert (blend(old, new, ~mask) - old).abs().max() < 1e-5
    assert picture(old).shape == (HEIGHT, 900, 3)


def test_the_picture_has_low_frequencies_below_and_time_to_the_right() -> None:
    waveform = torch.cat([tone(2000, 0.5), tone(6000, 0.5)], dim=1)
    brightness = picture(waveform).sum(axis=2, dtype=np.int64)
    height, width = brightness.shape
    left, right = brightness[:, width // 4].argmax(), brightness[:, 3 * width // 4].argmax()
    assert left / height == pytest.approx(1 - 2000 / 8000, abs=0.02)
    assert right / height == pytest.approx(1 - 6000 / 8000, abs=0.02)


def test_only_painted_bins_are_replaced() -> None:
    low, high = tone(500), tone(4000)
    mask = torch.zeros(513, 1 + RATE // 256, dtype=torch.bool)
    assert (blend(low, high, mask) - low).abs().max() < 1e-5
    mask[200:] = True  # above 3.1 kHz
    assert (blend(low, high, mask) - (low + high))[:, 1024:-1024].abs().max() < 0.02
    mask[:] = False
    mask[:, 40:] = True
    blended = blend(low, high, mask)
    assert (blended - low)[:, : 37 * 256].abs().max() < 1e-5
    assert (blended - high)[:, 43 * 256 :].abs().max() < 1e-5


def test_spectrograms_of_different_rates_have_a_common_scale() -> None:
    waveforms = {"slow": tone(1000), "fast": torch.zeros(1, 48000)}
    figure = spectrogram_figure(waveforms, {"slow": RATE, "fast": 24000})
    assert isinstance(figure, Figure)
    slow, fast = figure.axes[:2]
    assert slow.get_ylim() == fast.get_ylim() == (0, 12)
    assert slow.get_xlim() == fast.get_xlim() == (0, 2)
    assert slow.images[0].get_extent() == [0, 1, 0, 8]
