"""Published models with continuous latents."""

from collections.abc import Callable

from torch import Tensor

from hf_audio_vae.models.peers.network import PeerDecoder, PeerEncoder
from hf_audio_vae.models.peers.peer import PeerAutoencoder
from hf_audio_vae.models.variational import VariationalAutoencoderMixin
from hf_audio_vae.modules.distributions import DiagonalGaussian, PointPosterior


class PeerVAE(PeerAutoencoder, VariationalAutoencoderMixin):
    """A published model with a posterior over latents."""

    encoder: PeerEncoder
    decoder: PeerDecoder

    @property
    def latent_channels(self) -> int:
        """Channels of the latents."""
        return self.decoder.in_channels

    @property
    def _posterior(self) -> Callable[[Tensor], DiagonalGaussian]:
        return self.posterior_of

    def posterior_of(self, encoded: Tensor) -> DiagonalGaussian:
        """Return the posterior of the output of the encoder."""
        return DiagonalGaussian.from_parameters(encoded)


class PeerPointVAE(PeerVAE):
    """A published model whose encoder returns latents without noise."""

    @property
    def regulariser_terms(self) -> tuple[str, ...]:
        """None: the KL of latents without noise is infinite."""
        return ()

    def posterior_of(self, encoded: Tensor) -> PointPosterior:
        """As `PeerVAE`."""
        return PointPosterior(encoded)
