"""What a `WaveformVAE` returns."""

from dataclasses import dataclass

from diffusers.utils import BaseOutput
from torch import Tensor

from hf_audio_vae.modules.distributions import DiagonalGaussian


@dataclass
class WaveformVAEEncoderOutput(BaseOutput):
    """Output of `WaveformVAE.encode`.

    Args:
        latent_dist (`DiagonalGaussian`): Posterior over latents of shape (batch, latent_channels, frames).
    """

    latent_dist: DiagonalGaussian | None = None

    @property
    def latents(self) -> Tensor | None:
        """Most likely latents; `StableAudio3Pipeline` asks for them by this name."""
        return None if self.latent_dist is None else self.latent_dist.mode()


@dataclass
class WaveformVAEDecoderOutput(BaseOutput):
    """Output of `WaveformVAE.decode`.

    Args:
        sample (`torch.Tensor` of shape `(batch, audio_channels, frames * hop_length)`): Decoded waveform.
    """

    sample: Tensor | None = None


@dataclass
class WaveformVAEOutput(BaseOutput):
    """Output of `WaveformVAE.forward`.

    Args:
        sample (`torch.Tensor` of shape `(batch, audio_channels, time)`): Reconstruction, as long as the input.
        losses (`dict[str, torch.Tensor]`): The model's own regularisers by name, before any weight. `"kl"`: true KL
            from the unit Gaussian, in nats a latent frame (summed over channels, averaged over frames and batch).
        latent_dist (`DiagonalGaussian`): Posterior over latents of shape (batch, latent_channels, frames).
    """

    sample: Tensor | None = None
    losses: dict[str, Tensor] | None = None
    latent_dist: DiagonalGaussian | None = None
