"""The bitrate at which Opus has the same distance from the same clips: a scale for the figures of a model."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

from torch import Tensor

from hf_audio_vae.audio.resampling import resample
from hf_audio_vae.evaluation.lossy import OPUS_SAMPLING_RATES, UncodableError, opus
from hf_audio_vae.evaluation.metrics import mean_metrics
from hf_audio_vae.evaluation.registry import RECONSTRUCTION_METRICS, measure_reconstruction

RATES = (6, 8, 10, 12, 14, 16, 20, 24, 28, 32, 40, 48, 64, 96, 128)  # kbit/s of a channel
OPUS_CHANNELS = 2


@dataclass(frozen=True)
class OpusRate:
    """Where a value lies on the scale of Opus.

    Args:
        kbits (`float`): Bitrate at which Opus has this value, in kbit/s of all channels; the lowest or the highest
            measured one if `relation` is not "like".
        relation (`str`): "like", or "worse than" the lowest or "better than" the highest measured bitrate.
    """

    kbits: float
    relation: str = "like"

    def __str__(self) -> str:
        return f"{self.relation} Opus at {self.kbits:.1f} kbit/s"


class OpusScale:
    """Codes clips with Opus and finds the lowest bitrate at which it has a given mean metric.

    Args:
        clips (`Sequence[torch.Tensor]`): Originals (audio_channels, time), of 1 or 2 channels.
        sampling_rate (`int`): In Hz.

    Example:
        >>> from hf_audio_vae.audio import read_audio
        >>> clip, rate = read_audio("data/held_out/music_musicbox.ogg")
        >>> scale = OpusScale([clip.mean(dim=0, keepdim=True)], rate)
        >>> scale.rate_of("mel_distance", 100.0).relation
        'worse than'

    Raises:
        UncodableError: Opus cannot code a clip.
    """

    def __init__(self, clips: Sequence[Tensor], sampling_rate: int) -> None:
        if any(clip.shape[0] > OPUS_CHANNELS for clip in clips):
            raise UncodableError(f"the scale of Opus is for at most {OPUS_CHANNELS} channels.")
        self._clips, self._sampling_rate = clips, sampling_rate
        self._coding_rate = min(
            (r for r in OPUS_SAMPLING_RATES if r >= sampling_rate), default=OPUS_SAMPLING_RATES[-1]
        )
        self._resampled = [resample(clip, sampling_rate, self._coding_rate) for clip in clips]
        self._measured = cache(self._measure)

    def rate_of(self, metric: str, value: float) -> OpusRate:
        """Return the lowest bitrate at which Opus reaches a value of a metric that `reconstruct` prints.

        Opus is measured from low to high bitrates, since it is not better at each higher one: it changes its mode for
        speech at 32 kbit/s. Between the last two bitrates, the logarithm of the bitrate is interpolated linearly.
        """
        sign = 1 if RECONSTRUCTION_METRICS[metric].direction == "↑" else -1
        before: dict[str, float] | None = None
        for position in range(len(RATES)):
            measured = self._measured(position)
            if sign * measured[metric] >= sign * value:
                break
            before = measured
        else:
            return OpusRate(measured["kbits"], "better than")
        if before is None:
            return OpusRate(measured["kbits"], "like" if measured[metric] == value else "worse than")
        share = (value - before[metric]) / (measured[metric] - before[metric])
        return OpusRate(math.exp((1 - share) * math.log(before["kbits"]) + share * math.log(measured["kbits"])))

    def _measure(self, position: int) -> dict[str, float]:
        """Return the mean metrics of Opus at a bitrate of `RATES`, and all bits over all seconds."""
        rows, bits, seconds = [], 0.0, 0.0
        for clip, resampled in zip(self._clips, self._resampled, strict=True):
            coded = opus(resampled, self._coding_rate, 1000 * RATES[position] * clip.shape[0])
            decoded = resample(coded.waveform, self._coding_rate, self._sampling_rate)[:, : clip.shape[-1]]
            original = clip[:, : decoded.shape[-1]]
            names = ("si_sdr_db", "multi_resolution_stft", "mel_distance")
            rows += measure_reconstruction(decoded[None], original[None], self._sampling_rate, names=names)
            bits += coded.bits_per_second * clip.shape[-1]
            seconds += clip.shape[-1]
        return mean_metrics(rows) | {"kbits": bits / seconds / 1000}
