"""Latents of codes, of a language model of codes that is a VAE."""

from typing import Any

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from hf_audio_vae.models import AutoencoderModel
from hf_audio_vae.models.variational_outputs import VAEEncoderOutput
from hf_audio_vae.modules.distributions import DiagonalGaussian
from hf_audio_vae.pipelines.arguments import count
from hf_audio_vae.pipelines.token_generation import Prior, Sampling, generate_codes
from hf_audio_vae.tokens import UpsamplingTokens


@torch.no_grad()
def encode_codes(prior: Prior, codes: Tensor) -> DiagonalGaussian:
    """Encode codes to latents.

    Args:
        prior (`Prior`): Prior whose model is a `TokenVAE`.
        codes (`torch.Tensor` of shape `(batch, num_codebooks, frames)`): At most as many frames as the training crops.

    Returns:
        `DiagonalGaussian`: Posterior over latents (batch, latent_channels, num_latents).

    Raises:
        ValueError: The model has no latents, there are too many frames, or the codes do not fit the codebooks.
    """
    tokens, model = prior.tokens, prior.model
    if not prior.has_latents or isinstance(tokens, UpsamplingTokens):
        raise ValueError(f"a {type(model).__name__} has no latents of codes; use a TokenVAE.")
    tokens.check(codes, batched=True)
    if not 0 < codes.shape[2] <= prior.info.segment_units:
        raise ValueError(
            f"`codes` has {codes.shape[2]} frames, the model encodes 1 to {prior.info.segment_units}; split them."
        )
    ids = pad_sequence([tokens.encode(item, ended=False) for item in codes], batch_first=True)
    encoder: Any = model
    return encoder.encode(ids.to(model.device)).latent_dist


def interpolate_codes(
    prior: Prior,
    first: Tensor,
    last: Tensor,
    num_points: int,
    *,
    sampling: Sampling | None = None,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Generate codes from latents on the line between those of two sounds, both ends included.

    Args:
        prior (`Prior`): Prior whose model is a `TokenVAE`.
        first (`torch.Tensor` of shape `(num_codebooks, frames)`): Codes of one sound.
        last (`torch.Tensor`, same shape): Codes of another one.
        num_points (`int`): Number of points, 2 or more.
        sampling (`Sampling`, *optional*): Sampling options; default `Sampling()`.
        generator (`torch.Generator`, *optional*): Source of the seed.

    Returns:
        `torch.Tensor` of shape `(num_points, num_codebooks, frames)`: Int64 codes on the CPU.

    Raises:
        ValueError: See `encode_codes`; or there are fewer than two points, or the sounds differ in length.
    """
    if first.shape != last.shape:
        raise ValueError(
            f"`first` has shape {tuple(first.shape)}, `last` {tuple(last.shape)}; cut them to one length."
        )
    ends = encode_codes(prior, torch.stack([first, last])).mode()
    latents = latents_between(ends, num_points)
    return generate_codes(prior, first.shape[-1], latents=latents, sampling=sampling, generator=generator)


def latents_between(ends: Tensor, num_points: int) -> Tensor:
    """Return latents on the line between two, (num_points, ...), both ends included."""
    if count("num_points", num_points) < 2:
        raise ValueError(f"`num_points` is {num_points}; give 2 or more, to include both ends.")
    first, last = ends
    return torch.stack([torch.lerp(first, last, share) for share in torch.linspace(0, 1, num_points).tolist()])


class CodeLatents:
    """A codec and a `TokenVAE` of its codes as one VAE of sound: windows of codes become latents.

    Args:
        prior (`Prior`): Prior whose model is a `TokenVAE`.
        autoencoder (`AutoencoderModel`): Its codec.
    """

    codebook_sizes = ()
    kl_option = "kl_weight"  # of the recipes of a TokenVAE

    def __init__(self, prior: Prior, autoencoder: AutoencoderModel) -> None:
        self.prior = prior
        self.autoencoder = autoencoder
        self.sampling_rate = autoencoder.sampling_rate
        self.config = autoencoder.config
        self.device = autoencoder.device

    @property
    def frame_rate(self) -> float:
        """Latent vectors per second."""
        return self.prior.model.config.num_latents * self.prior.info.frame_rates[0] / self.prior.info.segment_units

    def codes_of(self, waveform: Tensor) -> Tensor:
        """Return the codes that the prior models, (batch, num_codebooks, frames)."""
        codes = self.autoencoder.encode(waveform).audio_codes
        return codes[self.prior.info.levels[-1]] if self.autoencoder.codes_by_level else codes

    def encode(self, waveform: Tensor) -> VAEEncoderOutput:
        """Encode waveforms (batch, audio_channels, time) in windows without overlap.

        Returns:
            `VAEEncoderOutput`: Posterior over latents (batch, latent_channels, windows * num_latents).
        """
        windows = self.codes_of(waveform).split(self.prior.info.segment_units, dim=2)
        posteriors = [encode_codes(self.prior, window) for window in windows]
        mean, std = (torch.cat([getattr(p, name) for p in posteriors], dim=2) for name in ("mean", "std"))
        return VAEEncoderOutput(latent_dist=DiagonalGaussian(mean, std))
