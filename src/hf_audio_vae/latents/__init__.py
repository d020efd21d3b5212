"""Statistics, distributions, interpolation, attributes, maps and storage of latents; storage of codes."""

from hf_audio_vae.latents.alignment import loop, stretch
from hf_audio_vae.latents.attributes import AttributeVector, difference_of_means, mean_latents, regression
from hf_audio_vae.latents.autoregression import AutoregressiveGaussian
from hf_audio_vae.latents.clip_vectors import clip_vector, standardized
from hf_audio_vae.latents.entropy_coding import CodedLatents, code_latents, decode_latents
from hf_audio_vae.latents.frame_moments import FrameMoments
from hf_audio_vae.latents.interpolation import interpolate, latents_path
from hf_audio_vae.latents.mixture import FrameReservoir, fit_mixture
from hf_audio_vae.latents.moments import ChannelMoments
from hf_audio_vae.latents.morphing import ALIGNMENTS, Alignment, Looped, Morph, Stretched, morphs, moving_morph
from hf_audio_vae.latents.neighbours import Neighbours, nearest_neighbours
from hf_audio_vae.latents.principal_axes import PrincipalAxes
from hf_audio_vae.latents.prior import LatentPrior, PriorInfo
from hf_audio_vae.latents.projections import PROJECTIONS, Projection, pca_projection, umap_projection
from hf_audio_vae.latents.samplers import CorrelatedGaussian, GaussianMixture, LatentSampler, StandardNormal
from hf_audio_vae.latents.storage import (
    LatentsInfo,
    StoredCodes,
    load_codes,
    load_latents,
    save_coded_latents,
    save_codes,
    save_latents,
)
from hf_audio_vae.latents.transformations import Chain, Gain, Mix, Shift, Transformation
from hf_audio_vae.latents.warping import Warp, warp

__all__ = [
    "ALIGNMENTS",
    "PROJECTIONS",
    "Alignment",
    "AttributeVector",
    "AutoregressiveGaussian",
    "Chain",
    "ChannelMoments",
    "CodedLatents",
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
    "Neighbours",
    "PrincipalAxes",
    "PriorInfo",
    "Projection",
    "Shift",
    "StandardNormal",
    "StoredCodes",
    "Stretched",
    "Transformation",
    "Warp",
    "clip_vector",
    "code_latents",
    "decode_latents",
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
    "nearest_neighbours",
    "pca_projection",
    "regression",
    "save_coded_latents",
    "save_codes",
    "save_latents",
    "standardized",
    "stretch",
    "umap_projection",
    "warp",
]
