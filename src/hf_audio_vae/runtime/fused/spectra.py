"""Seven-tap convolution at the cost of three taps, by the discrete Fourier transform of 16 samples.

A product of spectra is a circular convolution. Its last ten of 16 results are those of the linear convolution
(overlap-save; Stockham, 1966, "High-speed convolution and correlation"). The spectrum of real samples has two real
values and seven complex ones, and a complex product takes three real ones (Gauss). Ten results take 23 products
instead of 70. Unlike the rational points of Winograd's algorithm, points on the unit circle hardly increase the
rounding error.
"""

import torch
from torch import Tensor

SPECTRAL_TAPS = 7
SAMPLES = 16


def tap_spectra(weight: Tensor) -> Tensor:
    """Return the spectra of taps, which multiply the spectra of 16 samples; (out, in, 7) -> (23, out, in), float32.

    The first two factors are for the real values at the frequencies 0 and 8. Each of the frequencies 1 to 7 has three
    factors. They multiply the sum of real and imaginary part, the real part, and the imaginary part. The first product
    minus the third is the real part of the complex product. The first product plus the second is its imaginary part.
    The factors include those of the inverse transform.
    """
    spectrum = torch.fft.rfft(weight.double(), SAMPLES).conj() / SAMPLES  # conjugate: layers compute a correlation
    real, imaginary = spectrum.real, spectrum.imag
    products = [real[..., 0], real[..., 8]]
    for k in range(1, 8):  # doubled, for the other half of the spectrum
        c, d = 2 * real[..., k], 2 * imaginary[..., k]
        products += [c, d - c, c + d]
    return torch.stack(products).float()
