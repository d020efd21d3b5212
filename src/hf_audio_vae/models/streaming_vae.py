"""Streaming, as a method of a model with a posterior; readers of the model's file alone do without it."""

from typing import TYPE_CHECKING, Any

from hf_audio_vae.modules.distributions import DiagonalGaussian

if TYPE_CHECKING:
    from hf_audio_vae.models.streaming import AlgorithmicLatency, Streaming


class StreamingVAEMixin:
    """Streaming of a model with a posterior over latents."""

    @property
    def algorithmic_latency(self: Any) -> "AlgorithmicLatency":
        """Samples until a sample's latents and its reconstruction are determined, from the layers' spans."""
        from hf_audio_vae.models.streaming import latency_of

        layers = (self.encoder,), (self.decoder,)
        return latency_of(*layers, hop_length=self.hop_length, sampling_rate=self.sampling_rate)

    def streaming(self) -> "Streaming[DiagonalGaussian]":
        """Return an encoder and a decoder for a signal that comes in pieces, with a copy of the weights.

        Their outputs, concatenated, are those of `encode` and `decode` within rounding, whatever the pieces. Each is
        computed once, as soon as it is determined; what is kept for later ones does not grow.

        Example:
            >>> from hf_audio_vae import WaveformVAE
            >>> model = WaveformVAE(8, (2, 5), (1, 2), 8, 4, audio_channels=1, sampling_rate=16000, causal=True).eval()
            >>> model.algorithmic_latency.total, model.algorithmic_latency.seconds
            (10, 0.000625)
            >>> streaming = model.streaming()
            >>> for piece in torch.randn(1, 1, 29).split(8, dim=-1):
            ...     latents = streaming.encoder.push(piece).mode()
            ...     print(latents.shape[-1], streaming.decoder.push(latents).shape[-1])
            0 0
            1 10
            1 10
            0 0
            >>> streaming.encoder.flush().mean.shape  # zeros complete the last frame
            torch.Size([1, 4, 1])
        """
        from hf_audio_vae.models.streaming import streaming_vae

        return streaming_vae(self)  # type: ignore[arg-type]  # the model that this is part of
