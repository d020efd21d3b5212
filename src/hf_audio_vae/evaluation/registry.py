"""All metrics of a reconstruction, with their labels, definitions and requirements."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from hf_audio_vae.audio.spectra import Spectra
from hf_audio_vae.evaluation import loudness, metrics, spectral, speech
from hf_audio_vae.evaluation.metrics import over_sounding_channels


@dataclass(frozen=True)
class ReconstructionMetric:
    """A metric that compares reconstructions with their originals and has one value per item.

    Args:
        title (`str`): Name in tables.
        measure (`Callable`): ``measure(estimate, target, sampling_rate)`` returns (batch,), NaN if it is not defined.
        direction (`str`): "↑" if higher is better, else "↓".
        definition (`str`): Definition in one line.
        unit (`str`): Unit; empty for a number without one.
        package (`str`, *optional*): Package of the extra `metrics` that the metric needs.
        audio_channels (`int`, *optional*): Number of channels that the metric needs.
        speech (`bool`): Whether the metric is only meaningful for speech.
    """

    title: str
    measure: Callable[[Spectra, Spectra, int], Tensor]
    direction: str
    definition: str
    unit: str = ""
    package: str | None = None
    audio_channels: int | None = None
    speech: bool = False

    @property
    def label(self) -> str:
        """Title with unit and direction."""
        return f"{self.title} ({', '.join(filter(None, (self.unit, self.direction)))})"


RECONSTRUCTION_METRICS = {
    "si_sdr_db": ReconstructionMetric(
        "SI-SDR",
        lambda estimate, target, rate: over_sounding_channels(metrics.si_sdr, estimate.waveform, target.waveform),
        "↑",
        "energy of the scaled target over that of the rest, per channel, without means",
        unit="dB",
    ),
    "multi_resolution_stft": ReconstructionMetric(
        "multi-resolution STFT",
        lambda estimate, target, rate: metrics.multi_resolution_stft_distance(estimate, target),
        "↓",
        "spectral convergence plus L1 of natural log magnitudes, mean over windows 2048 to 32",
    ),
    "mel_distance": ReconstructionMetric(
        "mel distance",
        metrics.mel_spectrogram_distance,
        "↓",
        "DAC's class default: 150 and 80 mels, L1 of log10 of squares plus L1 of magnitudes",
    ),
    "mel_distance_seven_scales": ReconstructionMetric(
        "mel distance of 7 scales",
        spectral.mel_distance_seven_scales,
        "↓",
        "DAC's training loss: 5 to 320 mels, windows 32 to 2048, L1 of log10 magnitudes, summed",
    ),
    "snr_db": ReconstructionMetric(
        "SNR",
        lambda estimate, target, rate: over_sounding_channels(spectral.snr, estimate.waveform, target.waveform),
        "↑",
        "energy of the target over that of the error, per channel",
        unit="dB",
    ),
    "log_spectral_distance_db": ReconstructionMetric(
        "log-spectral distance",
        lambda estimate, target, rate: spectral.log_spectral_distance(estimate, target),
        "↓",
        "root mean square over frequencies of the difference in level, mean over frames of 2048 samples",
        unit="dB",
    ),
    "phase_coherence": ReconstructionMetric(
        "phase coherence",
        lambda estimate, target, rate: spectral.phase_coherence(estimate, target),
        "↑",
        "mean cosine of the phase error, weighted by both magnitudes, per channel",
    ),
    "interchannel_phase_coherence": ReconstructionMetric(
        "interchannel phase coherence",
        lambda estimate, target, rate: spectral.interchannel_phase_coherence(estimate, target),
        "↑",
        "mean cosine of the error of the phase difference of left and right, weighted by magnitude",
        audio_channels=2,
    ),
    "interchannel_coherence_error": ReconstructionMetric(
        "error of interchannel coherence",
        lambda estimate, target, rate: spectral.interchannel_coherence_error(estimate, target),
        "↓",
        "mean absolute error of the coherence of left and right, weighted by the target's power",
        audio_channels=2,
    ),
    "loudness_error_lu": ReconstructionMetric(
        "error of integrated loudness",
        lambda estimate, target, rate: loudness.loudness_error(estimate.waveform, target.waveform, rate),
        "↓",
        "absolute difference of the gated, K-weighted loudness",
        unit="LU",
        package="pyloudnorm",
    ),
    "loudness_range_error_lu": ReconstructionMetric(
        "error of loudness range",
        lambda estimate, target, rate: loudness.loudness_range_error(estimate.waveform, target.waveform, rate),
        "↓",
        "absolute difference of the loudness range",
        unit="LU",
        package="pyloudnorm",
    ),
    "true_peak_error_db": ReconstructionMetric(
        "error of true peak",
        lambda estimate, target, rate: loudness.true_peak_error(estimate.waveform, target.waveform, rate),
        "↓",
        "absolute difference of the peak level after oversampling by 4",
        unit="dB",
    ),
    "pesq": ReconstructionMetric(
        "PESQ, wideband",
        lambda estimate, target, rate: speech.pesq_wideband(estimate.waveform, target.waveform, rate),
        "↑",
        "estimated mean opinion score of speech at 16 kHz, 1.04 to 4.64",
        package="pesq",
        speech=True,
    ),
    "stoi": ReconstructionMetric(
        "STOI",
        lambda estimate, target, rate: speech.stoi(estimate.waveform, target.waveform, rate),
        "↑",
        "mean correlation of short-time envelopes in third octaves of speech at 10 kHz",
        package="pystoi",
        speech=True,
    ),
}
VALIDATION_METRICS = ("si_sdr_db", "multi_resolution_stft", "mel_distance")  # keys of `reconstruction_metrics`
# Metrics of any sound that need no extra package.
SIGNAL_METRICS = tuple(
    name for name, metric in RECONSTRUCTION_METRICS.items() if metric.package is None and not metric.speech
)


def check_metrics(names: Sequence[str]) -> None:
    """Raise `ValueError` if a name is not in `RECONSTRUCTION_METRICS`."""
    if unknown := [name for name in names if name not in RECONSTRUCTION_METRICS]:
        raise ValueError(f"there is no metric {unknown[0]!r}; choose from {', '.join(RECONSTRUCTION_METRICS)}.")


@torch.no_grad()
def measure_reconstruction(
    estimate: Tensor, target: Tensor, sampling_rate: int, *, names: Sequence[str] = SIGNAL_METRICS
) -> list[dict[str, float]]:
    """Measure a batch of reconstructions with the given metrics.

    A metric is not defined for an item that is too short or silent, or that lacks the channels that the metric needs.
    The row of such an item does not have the metric. `metrics.mean_metrics` averages over the rows that have it.

    Args:
        estimate (`torch.Tensor` of shape `(batch, audio_channels, time)`): Reconstructions.
        target (`torch.Tensor`, same shape): Originals.
        sampling_rate (`int`): In Hz.
        names (`Sequence[str]`): Keys of `RECONSTRUCTION_METRICS`.

    Returns:
        `list[dict[str, float]]`: Finite values by name, for each item.

    Raises:
        ValueError: There is no such metric, the shapes differ, or a signal has NaN or infinite values.
        ModuleNotFoundError: A metric needs a package that is missing.

    Example:
        >>> target = torch.sin(torch.arange(16000.0)).reshape(1, 1, -1)
        >>> names = ("snr_db", "interchannel_phase_coherence")
        >>> (row,) = measure_reconstruction(0.9 * target, target, 16000, names=names)
        >>> {name: round(value, 3) for name, value in row.items()}  # mono has no phase between channels
        {'snr_db': 20.0}
    """
    check_metrics(names)
    if estimate.shape != target.shape or target.ndim != 3:
        raise ValueError(
            f"the reconstruction is {tuple(estimate.shape)} and the original {tuple(target.shape)}; give both as "
            f"(batch, audio_channels, time), cut to the same length."
        )
    if not bool(estimate.isfinite().all() and target.isfinite().all()):
        raise ValueError("a signal has NaN or infinite values; decode in float32, or leave the item out.")
    ours, theirs = Spectra(estimate), Spectra(target)
    rows: list[dict[str, float]] = [{} for _ in target]
    for name in names:
        metric = RECONSTRUCTION_METRICS[name]
        if metric.audio_channels in (None, target.shape[1]):
            values = metric.measure(ours, theirs, sampling_rate)
            for row, value in zip(rows, values.tolist(), strict=True):
                if value == value:  # not NaN
                    row[name] = value
    return rows
