"""Convolution with seven taps at the cost of three, by the discrete Fourier transform of 16 samples.

Of the circular convolution that a product of spectra is, the last ten of 16 results are the linear one's (overlap and
save; Stockham, 1966, "High-speed convolution and correlation"). The spectrum of real samples has two real values and
seven complex ones, a complex product takes three real ones (Gauss), so that ten results take 23 products and not 70.
Unlike the rational points of Winograd's algorithm, those of the unit circle hardly enlarge the error of rounding.
"""

import torch
from torch import Tensor

SPECTRAL_TAPS = 7
SAMPLES = 16


def tap_spectra(weight: Tensor) -> Tensor:
    """Return what to multiply the spectra of 16 samples with; (out, in, 7) -> (23, out, in), float32.

    The first two are for the real values at 0 and 8. Then come three for each of 1 to 7, to be multiplied with real
    plus imaginary part, real part, imaginary part: the first less the third is the real part of the product, the first
    plus the second the imaginary one. They include the factors of the inverse transform.
    """
    spectrum = torch.fft.rfft(weight.double(), SAMPLES).conj() / SAMPLES  # conjugate: layers correlate
    real, imaginary = spectrum.real, spectrum.imag
    products = [real[..., 0], real[..., 8]]
    for k in range(1, 8):  # twice, for the other half of the spectrum
        c, d = 2 * real[..., k], 2 * imaginary[..., k]
        products += [c, d - c, c + d]
    return torch.stack(products).float()
