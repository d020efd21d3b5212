from torch import Tensor, nn

from hf_audio_vae.audio.spectra import Spectra


class WaveformL1Loss(nn.Module):
    """Mean absolute difference of samples: the likelihood of a Laplace observation model, up to scale."""

    def forward(self, estimate: Tensor | Spectra, target: Tensor | Spectra) -> Tensor:
        """(batch, audio_channels, time) twice -> scalar."""
        return (Spectra.of(estimate).waveform - Spectra.of(target).waveform).abs().mean()


class WaveformMSELoss(nn.Module):
    """Mean squared difference of samples: the likelihood of a Gaussian observation model, up to scale."""

    def forward(self, estimate: Tensor | Spectra, target: Tensor | Spectra) -> Tensor:
        """(batch, audio_channels, time) twice -> scalar."""
        return (Spectra.of(estimate).waveform - Spectra.of(target).waveform).square().mean()
