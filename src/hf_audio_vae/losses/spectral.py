import torch
from torch import Tensor, nn

from hf_audio_vae.audio.distance import STFT_WINDOW_LENGTHS, mel_distance, stft_distance
from hf_audio_vae.audio.spectra import Spectra
from hf_audio_vae.audio.spectrogram import a_weighting, bin_frequencies, mel_filters

MEL_WINDOW_LENGTHS = (32, 64, 128, 256, 512, 1024, 2048)
N_MELS = (5, 10, 20, 40, 80, 160, 320)


class MultiResolutionSTFTLoss(nn.Module):
    """Spectral convergence plus log-magnitude distance, averaged over resolutions (Yamamoto et al., arXiv:1910.11480).

    With `mid_side`, the distance of sum and difference is added (Steinmetz et al., arXiv:2010.10291), which preserves
    the stereo image, as in Stable Audio. Computed in float32 in any mixed precision mode; finite on silence.

    Args:
        sampling_rate (`int`): Sampling rate of the waveforms in Hz.
        window_lengths (`tuple[int, ...]`): Lengths of the Hann windows in samples; the hop is a quarter.
        mid_side (`bool`): Add the distance of sum and difference; needs two channels.
        a_weighted (`bool`): Weight each bin by the A curve, so that audible frequencies count more.

    Raises:
        ValueError: `forward` gets a waveform that is not stereo while `mid_side` is set.
    """

    def __init__(
        self,
        *,
        sampling_rate: int,
        window_lengths: tuple[int, ...] = STFT_WINDOW_LENGTHS,
        mid_side: bool = False,
        a_weighted: bool = False,
    ) -> None:
        super().__init__()
        self.mid_side = mid_side
        self.window_lengths = tuple(window_lengths)
        for length in self.window_lengths:
            gain = a_weighting(bin_frequencies(length, sampling_rate)) if a_weighted else None
            self.register_buffer(f"gain_{length}", gain, persistent=False)

    def forward(self, estimate: Tensor | Spectra, target: Tensor | Spectra) -> Tensor:
        """(batch, audio_channels, time) twice -> scalar, the mean over the batch.

        `Spectra` inputs share their transforms with other losses and metrics.
        """
        ours, theirs = Spectra.of(estimate), Spectra.of(target)
        with torch.autocast(ours.waveform.device.type, enabled=False):
            distance = self._distance(ours, theirs)
            if self.mid_side:
                distance = distance + self._distance(ours.mid_side(), theirs.mid_side())
        return distance.mean()

    def _distance(self, estimate: Spectra, target: Spectra) -> Tensor:
        """Distance of each item, (batch,)."""
        distances = [
            stft_distance(estimate, target, length, getattr(self, f"gain_{length}")) for length in self.window_lengths
        ]
        return torch.stack(distances).mean(dim=0)


class MultiScaleMelLoss(nn.Module):
    """L1 of log10 mel spectra, summed over scales (Kumar et al., arXiv:2306.06546; defaults as in DAC).

    Computed in float32 in any mixed precision mode; mel magnitudes are clamped to at least 1e-5.

    Args:
        sampling_rate (`int`): Sampling rate of the waveforms in Hz.
        window_lengths (`tuple[int, ...]`): Lengths of the Hann windows in samples; the hop is a quarter.
        n_mels (`tuple[int, ...]`): Number of mel filters at each scale.

    Raises:
        ValueError: The two tuples differ in length.
    """

    def __init__(
        self,
        *,
        sampling_rate: int,
        window_lengths: tuple[int, ...] = MEL_WINDOW_LENGTHS,
        n_mels: tuple[int, ...] = N_MELS,
    ) -> None:
        super().__init__()
        if len(window_lengths) != len(n_mels):
            raise ValueError(f"`window_lengths` {window_lengths} and `n_mels` {n_mels} have to name the same scales.")
        self.sampling_rate = sampling_rate
        self.scales = tuple(zip(window_lengths, n_mels, strict=True))

    def forward(self, estimate: Tensor | Spectra, target: Tensor | Spectra) -> Tensor:
        """(batch, audio_channels, time) twice -> scalar, the mean over the batch; `Spectra` share transforms."""
        ours, theirs = Spectra.of(estimate), Spectra.of(target)
        device = ours.waveform.device
        with torch.autocast(device.type, enabled=False):
            distances = [
                mel_distance(ours, theirs, length, mel_filters(count, length, self.sampling_rate, device=device))[0]
                for length, count in self.scales
            ]
        return torch.stack(distances).sum(dim=0).mean()
