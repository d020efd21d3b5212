import torch
from torch import Tensor, nn

from hf_audio_vae.audio.distance import STFT_WINDOW_LENGTHS, mel_distance, stft_distance
from hf_audio_vae.audio.spectra import Spectra
from hf_audio_vae.audio.spectrogram import a_weighting, bin_frequencies, mel_filters

MEL_WINDOW_LENGTHS = (32, 64, 128, 256, 512, 1024, 2048)
N_MELS = (5, 10, 20, 40, 80, 160, 320)


class MultiResolutionSTFTLoss(nn.Module):
    """Spectral convergence plus log-magnitude distance, averaged over resolutions (Yamamoto et al., arXiv:1910.11480).

    With `mid_side`, stereo also counts by its sum and difference (Steinmetz et al., arXiv:2010.10291), which keeps the
    image: the recipe of Stable Audio. Computed in float32 whatever the mixed precision, finite on silence.

    Args:
        sampling_rate (`int`): Of the waveforms, in Hz.
        window_lengths (`tuple[int, ...]`): Hann windows in samples; the hop is a quarter.
        mid_side (`bool`): Add the distance of sum and difference; needs two channels.
        a_weighted (`bool`): Weigh each bin by the A curve, so that what is heard better counts more.

    Raises:
        ValueError: `forward` is given mid/side of anything but stereo.
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

        `Spectra` instead of waveforms share their transforms with whatever else looks at them.
        """
        ours, theirs = Spectra.of(estimate), Spectra.of(target)
        with torch.autocast(ours.waveform.device.type, enabled=False):
            distance = self._distance(ours, theirs)
            if self.mid_side:
                distance = distance + self._distance(ours.mid_side(), theirs.mid_side())
        return distance.mean()

    def _distance(self, estimate: Spectra, target: Spectra) -> Tensor:
        """One distance an item, (batch,)."""
        distances = [
            stft_distance(estimate, target, length, getattr(self, f"gain_{length}")) for length in self.window_lengths
        ]
        return torch.stack(distances).mean(dim=0)


class MultiScaleMelLoss(nn.Module):
    """L1 of log10 mel spectra, summed over scales (Kumar et al., arXiv:2306.06546; the values DAC trains with).

    Computed in float32 whatever the mixed precision; mel magnitudes below 1e-5 count as 1e-5.

    Args:
        sampling_rate (`int`): Of the waveforms, in Hz.
        window_lengths (`tuple[int, ...]`): Hann windows in samples; the hop is a quarter.
        n_mels (`tuple[int, ...]`): Mel filters at each scale.

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
                mel_distance(ours, theirs, length, mel_filters(count, length, self.sampling_rate, device))[0]
                for length, count in self.scales
            ]
        return torch.stack(distances).sum(dim=0).mean()
