"""Training losses: reconstruction losses, the weights of regularisers, and their weighted sum.

`DiagonalGaussian.kl` computes the KL; a model returns it as the term `"kl"` in nats per latent frame: summed over
channels, averaged over frames and batch. A weight `w` here equals `w / 2` in stable-audio-tools, whose KL has no
factor 1/2.
"""

from hf_audio_vae.losses.adversarial import AdversarialLoss, HingeLoss, LeastSquaresLoss, feature_matching
from hf_audio_vae.losses.balancing import GradientBalancer
from hf_audio_vae.losses.complex_spectral import ComplexSTFTLoss, PhaseDerivativeLoss
from hf_audio_vae.losses.kl import CosineAnnealing, CyclicalAnnealing, DelayedSchedule, LinearAnnealing, Schedule
from hf_audio_vae.losses.kl_control import CapacityAnnealing, FreeBits, KLControl, TargetRate
from hf_audio_vae.losses.spectral import MultiResolutionSTFTLoss, MultiScaleMelLoss
from hf_audio_vae.losses.stereo import StereoCorrelationLoss
from hf_audio_vae.losses.waveform import WaveformL1Loss, WaveformMSELoss
from hf_audio_vae.losses.weighting import check_names, weighted_sum

# By their names in recipes. Arguments are options of the recipe, except for `sampling_rate`.
RECONSTRUCTION_LOSSES = {
    "waveform_l1": WaveformL1Loss,
    "waveform_mse": WaveformMSELoss,
    "multi_resolution_stft": MultiResolutionSTFTLoss,
    "multi_scale_mel": MultiScaleMelLoss,
    "complex_stft": ComplexSTFTLoss,
    "phase_derivatives": PhaseDerivativeLoss,
    "stereo_correlation": StereoCorrelationLoss,
}
ADVERSARIAL_LOSSES: dict[str, type[AdversarialLoss]] = {"hinge": HingeLoss, "least_squares": LeastSquaresLoss}
SCHEDULES: dict[str, type[LinearAnnealing | CosineAnnealing | CyclicalAnnealing]] = {
    "linear": LinearAnnealing,
    "cosine": CosineAnnealing,
    "cyclical": CyclicalAnnealing,
}

__all__ = [
    "ADVERSARIAL_LOSSES",
    "RECONSTRUCTION_LOSSES",
    "SCHEDULES",
    "AdversarialLoss",
    "CapacityAnnealing",
    "ComplexSTFTLoss",
    "CosineAnnealing",
    "CyclicalAnnealing",
    "DelayedSchedule",
    "FreeBits",
    "GradientBalancer",
    "HingeLoss",
    "KLControl",
    "LeastSquaresLoss",
    "LinearAnnealing",
    "MultiResolutionSTFTLoss",
    "MultiScaleMelLoss",
    "PhaseDerivativeLoss",
    "Schedule",
    "StereoCorrelationLoss",
    "TargetRate",
    "WaveformL1Loss",
    "WaveformMSELoss",
    "check_names",
    "feature_matching",
    "weighted_sum",
]
