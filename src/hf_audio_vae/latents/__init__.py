"""Statistics, distributions, interpolation, attributes and storage of latents; storage of codes."""

from hf_audio_vae.latents.alignment import loop, stretch
from hf_audio_vae.latents.attributes import AttributeVector, difference_of_means, mean_latents, regression
from hf_audio_vae.latents.autoregression import AutoregressiveGaussian
from hf_audio_vae.latents.frame_moments import FrameMoments
from hf_audio_vae.latents.interpolation import interpolate, latents_path
from hf_audio_vae.latents.mixture import FrameReservoir, fit_mixture
from hf_audio_vae.latents.moments import ChannelMoments
from hf_audio_vae.latents.morphing import ALIGNMENTS, Alignment, Looped, Morph, Stretched, morphs, moving_morph
from hf_audio_vae.latents.prior import LatentPrior, PriorInfo
from hf_audio_vae.latents.samplers import CorrelatedGaussian, GaussianMixture, LatentSampler, StandardNormal
from hf_audio_vae.latents.storage import LatentsInfo, StoredCodes, load_codes, load_latents, save_codes, save_latents
from hf_audio_vae.latents.transformations import Chain, Gain, Mix, Shift, Transformation
from hf_audio_vae.latents.warping import Warp, warp

__all__ = [
    "ALIGNMENTS",
    "Alignment",
    "AttributeVector",
    "AutoregressiveGaussian",
    "Chain",
    "ChannelMoments",
    "CorrelatedGaussian",
    "FrameMoments",
    "FrameReservoir",
    "Gain",
    "GaussianMixture",
    "LatentPrior",
    "LatentSampler",
    "LatentsInfo",
    "Looped",
    "Mix",
    "Morph",
    "PriorInfo",
    "Shift",
    "StandardNormal",
    "StoredCodes",
    "Stretched",
    "Transformation",
    "Warp",
    "difference_of_means",
    "fit_mixture",
    "interpolate",
    "latents_path",
    "load_codes",
    "load_latents",
    "loop",
    "mean_latents",
    "morphs",
    "moving_morph",
    "regression",
    "save_codes",
    "save_latents",
    "stretch",
    "warp",
]
