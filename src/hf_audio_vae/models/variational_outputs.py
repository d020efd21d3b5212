"""Outputs of the variational families."""

from dataclasses import dataclass

from diffusers.utils import BaseOutput
from torch import Tensor

from hf_audio_vae.modules.distributions import DiagonalGaussian


@dataclass
class VAEEncoderOutput(BaseOutput):
    """Output of `encode`.

    Args:
        latent_dist (`DiagonalGaussian`): Posterior over latents of shape (batch, latent_channels, frames).
    """

    latent_dist: DiagonalGaussian | None = None

    @property
    def latents(self) -> Tensor | None:
        """Mode of the posterior; `StableAudio3Pipeline` reads it by this name."""
        return None if self.latent_dist is None else self.latent_dist.mode()


@dataclass
class VAEDecoderOutput(BaseOutput):
    """Output of `decode`.

    Args:
        sample (`torch.Tensor` of shape `(batch, audio_channels, frames * hop_length)`): Decoded waveform.
    """

    sample: Tensor | None = None


@dataclass
class VAEOutput(BaseOutput):
    """Output of `forward`.

    Args:
        sample (`torch.Tensor` of shape `(batch, audio_channels, time)`): Reconstruction, as long as the input.
        losses (`dict[str, torch.Tensor]`): The model's own regularisers by name, unweighted. `"kl"`: true KL from the
            unit Gaussian, in nats per latent frame (summed over channels, averaged over frames and batch); missing
            if latents have no noise.
        latent_dist (`DiagonalGaussian`): Posterior over latents of shape (batch, latent_channels, frames).
    """

    sample: Tensor | None = None
    losses: dict[str, Tensor] | None = None
    latent_dist: DiagonalGaussian | None = None

    @property
    def reconstructions(self) -> tuple[Tensor, ...]:
        """Reconstructions that training compares with the waveform: `sample`."""
        return () if self.sample is None else (self.sample,)

    @property
    def regularisers(self) -> dict[str, Tensor]:
        """`losses` for training: `"kl"` per latent channel, (latent_channels,), in nats per frame."""
        if self.losses is None or self.latent_dist is None:
            return {}
        if not self.latent_dist.has_density:
            return self.losses
        return self.losses | {"kl": self.latent_dist.kl().mean(dim=(0, 2))}  # (batch, channels, frames) -> (channels,)
