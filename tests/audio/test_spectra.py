import gc
import weakref

import pytest
import torch
from torch import Tensor

from hf_audio_vae.audio.spectra import Spectra
from hf_audio_vae.audio.spectrogram import hann_window, mel_filters, stft


def noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed)) * 2 - 1


@pytest.fixture
def transforms(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Lengths of the windows that torch was asked to transform with."""
    asked: list[int] = []
    plain = torch.stft

    def counted(signal: Tensor, n_fft: int, *args: object, **options: object) -> Tensor:
        asked.append(n_fft)
        return plain(signal, n_fft, *args, **options)

    monkeypatch.setattr(torch, "stft", counted)
    return asked


def test_a_spectrum_is_the_transform_with_a_quarter_hop():
    waveform = noise(2, 2, 300)
    assert torch.equal(Spectra(waveform).stft(64), stft(waveform, torch.hann_window(64), 16))


def test_each_transform_is_made_once(transforms):
    spectra = Spectra(noise(2, 2, 300))
    for length in (64, 32, 64, 32):
        spectra.stft(length)
        spectra.mid_side().stft(length)
    assert transforms == [64, 32]


def test_mid_and_side_are_the_spectra_of_sum_and_difference():
    waveform = noise(2, 2, 300)
    left, right = waveform.unbind(dim=1)
    expected = Spectra(torch.stack((left + right, left - right), dim=1))
    mid_side = Spectra(waveform).mid_side()
    torch.testing.assert_close(mid_side.stft(64), expected.stft(64), rtol=0, atol=64 * 2**-23)
    assert torch.equal(mid_side.waveform, expected.waveform)


def test_windows_and_filters_are_shared_and_usable_after_inference_mode():
    length = 46  # of no other test, since they are cached
    with torch.inference_mode():
        Spectra(noise(1, 1, 90)).stft(length)
        mel_filters(4, length, 8000)
    waveform = noise(1, 1, 90).requires_grad_()
    (mel_filters(4, length, 8000) @ Spectra(waveform).stft(length).abs()).sum().backward()
    assert waveform.grad.isfinite().all()
    assert hann_window(length) is hann_window(length)
    assert mel_filters(4, length, 8000) is mel_filters(4, length, 8000)


class MelPower(torch.nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return mel_filters(4, 48, 8000) @ (x * hann_window(48)).reshape(2, 1, 48)[..., :25].square().mT


def test_windows_and_filters_have_values_after_an_export():
    exported = torch.export.export(MelPower(), (noise(2, 48),))
    assert type(hann_window(48)) is type(mel_filters(4, 48, 8000)) is torch.Tensor
    torch.testing.assert_close(exported.module()(noise(2, 48)), MelPower()(noise(2, 48)))


def test_half_precision_is_transformed_in_float32_and_double_in_double():
    assert Spectra(noise(1, 1, 90).bfloat16()).stft(32).dtype == torch.complex64
    assert Spectra(noise(1, 1, 90).double()).stft(32).dtype == torch.complex128


def test_spectra_are_freed_when_nobody_refers_to_them():
    """Without waiting for the collector of circles, which does not know how large tensors are."""
    gc.disable()
    try:
        spectra = Spectra(noise(1, 2, 90))
        spectra.mid_side().stft(32)
        alive = weakref.ref(spectra.stft(32))
        del spectra
        assert alive() is None
    finally:
        gc.enable()
