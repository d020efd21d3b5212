"""The algorithm itself, in float64 and by torch's FFT."""

import torch

from hf_audio_vae.runtime.fused.spectra import SAMPLES, SPECTRAL_TAPS, tap_spectra


def test_products_of_spectra_are_the_convolution():
    generator = torch.Generator().manual_seed(0)
    taps = torch.randn(1, 1, SPECTRAL_TAPS, generator=generator)
    x = torch.randn(SAMPLES, generator=generator, dtype=torch.float64)
    products = tap_spectra(taps)[:, 0, 0].double()
    spectrum = torch.fft.rfft(x)
    values = torch.zeros(SAMPLES // 2 + 1, dtype=torch.complex128)
    values[0], values[-1] = products[0] * spectrum[0].real, products[1] * spectrum[-1].real
    for k in range(1, SAMPLES // 2):
        c, d_less_c, c_plus_d = products[3 * k - 1 : 3 * k + 2]
        real, imaginary = spectrum[k].real, spectrum[k].imag
        both = c * (real + imaginary)
        values[k] = torch.complex(both - c_plus_d * imaginary, both + d_less_c * real) / 2  # the factor is in c and d
    result = torch.fft.irfft(values, SAMPLES) * SAMPLES  # and so is that of the inverse
    expected = torch.nn.functional.conv1d(x[None, None], taps.double())[0, 0]
    torch.testing.assert_close(result[: len(expected)], expected, rtol=0, atol=1e-6)  # taps' spectra are float32
    assert len(expected) == 10
