import torch
from torch import Tensor, nn

from hf_audio_vae.audio.spectra import Spectra
from hf_audio_vae.audio.spectrogram import magnitude

MIN_POWER = 1e-6  # of an orthonormal transform


class StereoCorrelationLoss(nn.Module):
    """Distance of the complex correlation of left and right in each frame, which the stereo image depends on.

    As in "eps-ar-VAE" (arXiv:2509.14912), on spectra. Frames of silence have no correlation and count nothing.

    Args:
        window_length (`int`): Length of the Hann window in samples; the hop is a quarter.

    Raises:
        ValueError: `forward` gets a waveform that is not stereo.
    """

    def __init__(self, *, window_length: int = 2048) -> None:
        super().__init__()
        self.window_length = window_length

    def forward(self, estimate: Tensor | Spectra, target: Tensor | Spectra) -> Tensor:
        """(batch, 2, time) twice -> scalar in [0, 2]; `Spectra` share transforms."""
        ours, theirs = Spectra.of(estimate), Spectra.of(target)
        if theirs.waveform.shape[1] != 2:
            raise ValueError(
                f"`stereo_correlation` needs stereo, got {theirs.waveform.shape[1]} channels; leave it out."
            )
        with torch.autocast(ours.waveform.device.type, enabled=False):
            difference = self._correlation(ours) - self._correlation(theirs)
        return magnitude(difference, 1e-12).mean()

    def _correlation(self, spectra: Spectra) -> Tensor:
        """Complex correlation of each frame, (batch, frames)."""
        left, right = spectra.stft(self.window_length).unbind(dim=1)  # (batch, bins, frames)
        powers = [channel.abs().square().sum(dim=1) for channel in (left, right)]
        least = (self.window_length * MIN_POWER) ** 2
        return (left * right.conj()).sum(dim=1) / (powers[0] * powers[1]).clamp_min(least).sqrt()
