import math

import pytest
import torch
from torch import Tensor

from hf_audio_vae.audio import read_audio
from hf_audio_vae.modules.short_time import STFT, InverseSTFT
from tests.dependence import clipped, inputs_read
from tests.training.runs import REPO

MUSIC = REPO / "data/held_out/music_musicbox.ogg"
WINDOWS = [(1024, 256), (512, 256), (12, 4), (15, 5), (6, 2), (11, 4), (13, 5)]


def pair(
    window_length: int, hop_length: int, exponent: float = 0.35, audio_channels: int = 1
) -> tuple[STFT, InverseSTFT]:
    inverse = InverseSTFT(window_length, hop_length, exponent, audio_channels=audio_channels)
    return STFT(window_length, hop_length, exponent), inverse


def level(error: Tensor, signal: Tensor) -> float:
    """Level of the error relative to the signal, in dB."""
    return 20 * math.log10(float(error.norm() / signal.norm()))


@pytest.mark.parametrize(("window_length", "hop_length"), WINDOWS)
def test_sound_comes_back_from_its_spectra_at_100_db_for_any_number_of_frames(
    window_length: int, hop_length: int
) -> None:
    sound, _ = read_audio(MUSIC)
    stft, inverse = pair(window_length, hop_length, audio_channels=len(sound))
    for frames in (1, 2, 3, 7, 40):
        x = sound[None, :, 40000 : 40000 + frames * hop_length]
        spectra = stft(x)
        assert spectra.shape == (1, inverse.in_channels, frames)
        assert level(inverse(spectra) - x, x) < -100


def test_spectra_are_those_of_torch_with_compressed_magnitudes() -> None:
    x = torch.randn(2, 3, 40, dtype=torch.float64)
    padded = torch.nn.functional.pad(x.flatten(0, 1), (4, 4))
    window = torch.hann_window(12, dtype=torch.float64)
    expected = torch.stft(padded, 12, 4, window=window, center=False, normalized=True, return_complex=True)
    expected = torch.polar(expected.abs() ** 0.5, expected.angle()).unflatten(0, (2, 3))  # (2, 3, 7, 10)
    actual = torch.view_as_complex(STFT(12, 4, 0.5)(x).unflatten(1, (3, 7, 2)).transpose(3, 4).contiguous())
    # torch makes its window in float32 precision of pi
    torch.testing.assert_close(actual, expected, rtol=1e-6, atol=1e-6)


def test_silence_has_finite_gradients() -> None:
    stft, inverse = pair(12, 4)
    x = torch.zeros(1, 1, 40, requires_grad=True)
    inverse(stft(x)).square().sum().backward()
    assert x.grad is not None
    assert x.grad.isfinite().all()
    spectra = torch.zeros(1, inverse.in_channels, 10, requires_grad=True)
    inverse(spectra).sum().backward()
    assert spectra.grad is not None
    assert spectra.grad.isfinite().all()


@pytest.mark.parametrize(("window_length", "hop_length"), WINDOWS[2:])
def test_spans_are_the_inputs_that_are_read(window_length: int, hop_length: int) -> None:
    stft, inverse = pair(window_length, hop_length)
    x = torch.randn(1, 1, 20 * hop_length, dtype=torch.float64)
    z = torch.randn(1, inverse.in_channels, 20, dtype=torch.float64)
    for start, stop in ((0, 1), (3, 5), (19, 20)):
        first, last = clipped(stft.input_span(start, stop), x.shape[-1])
        read = inputs_read(stft, x, start, stop)
        assert first <= read[0] <= first + 1, "the first value of a Hann window is zero"
        assert read[1] == last
    for sample in range(20 * hop_length):
        first, last = clipped(inverse.input_span(sample, sample + 1), 20)
        read = inputs_read(inverse, z, sample, sample + 1)
        assert read[0] == first
        assert read[1] in (last, last - 1), "the first value of a Hann window is zero"


def test_half_precision_is_transformed_in_float32() -> None:
    stft, inverse = pair(1024, 256)
    x = 0.1 * torch.randn(1, 1, 2560)
    spectra = stft(x.half())
    assert spectra.dtype == torch.float16
    torch.testing.assert_close(spectra.float(), stft(x.half().float()), rtol=1e-3, atol=1e-3)
    assert level(inverse(spectra).float() - x, x) < -50


@pytest.mark.parametrize(("window_length", "hop_length"), [(4, 4), (7, 4), (0, 4), (8, 0)])
def test_windows_that_cannot_be_inverted_are_refused(window_length: int, hop_length: int) -> None:
    with pytest.raises(ValueError, match=f"`window_length` is {window_length} and `hop_length` {hop_length}; use"):
        STFT(window_length, hop_length, 1.0)


@pytest.mark.parametrize("exponent", [0.0, 1.1, math.nan])
def test_an_exponent_out_of_range_is_refused(exponent: float) -> None:
    with pytest.raises(ValueError, match=f"`exponent` is {exponent}"):
        STFT(8, 4, exponent)
