import torch
from torch import Tensor, nn

from hf_audio_vae.audio.distance import STFT_WINDOW_LENGTHS, mel_distance, stft_distance
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
            self.register_buffer(f"window_{length}", torch.hann_window(length), persistent=False)
            gain = a_weighting(bin_frequencies(length, sampling_rate)) if a_weighted else None
            self.register_buffer(f"gain_{length}", gain, persistent=False)

    def forward(self, estimate: Tensor, target: Tensor) -> Tensor:
        """(batch, audio_channels, time) twice -> scalar, the mean over the batch."""
        with torch.autocast(estimate.device.type, enabled=False):
            estimate, target = estimate.float(), target.float()
            distance = self._distance(estimate, target)
            if self.mid_side:
                distance = distance + self._distance(_mid_side(estimate), _mid_side(target))
        return distance.mean()

    def _distance(self, estimate: Tensor, target: Tensor) -> Tensor:
        """One distance an item, (batch,)."""
        distances = [
            stft_distance(estimate, target, getattr(self, f"window_{length}"), getattr(self, f"gain_{length}"))
            for length in self.window_lengths
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
        self.window_lengths = tuple(window_lengths)
        for length, count in zip(window_lengths, n_mels, strict=True):
            self.register_buffer(f"window_{length}", torch.hann_window(length), persistent=False)
            self.register_buffer(f"filters_{length}", mel_filters(count, length, sampling_rate), persistent=False)

    def forward(self, estimate: Tensor, target: Tensor) -> Tensor:
        """(batch, audio_channels, time) twice -> scalar, the mean over the batch."""
        with torch.autocast(estimate.device.type, enabled=False):
            estimate, target = estimate.float(), target.float()
            distances = [
                mel_distance(estimate, target, getattr(self, f"window_{length}"), getattr(self, f"filters_{length}"))
                for length in self.window_lengths
            ]
        return torch.stack([log_distance for log_distance, _ in distances]).sum(dim=0).mean()


def _mid_side(waveform: Tensor) -> Tensor:
    """Sum and difference; (batch, 2, time) -> same."""
    if waveform.shape[1] != 2:
        raise ValueError(f"`mid_side` needs stereo, got {waveform.shape[1]} channels; leave it off for this model.")
    left, right = waveform.unbind(dim=1)
    return torch.stack((left + right, left - right), dim=1)
