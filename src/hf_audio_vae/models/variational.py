"""Base class of variational families: one encoder, a posterior over latents, one decoder."""

from abc import abstractmethod
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, Protocol

import torch
from diffusers.utils.accelerate_utils import apply_forward_hook
from torch import Tensor, nn

from hf_audio_vae.models.autoencoder import AudioAutoencoderMixin
from hf_audio_vae.models.graph_parts import GraphPart, posterior_parts
from hf_audio_vae.models.inputs import check_latents, check_sampling_rate, check_waveform
from hf_audio_vae.models.normalization import NormalizedLatentsMixin
from hf_audio_vae.models.variational_outputs import VAEDecoderOutput, VAEEncoderOutput, VAEOutput
from hf_audio_vae.modules.deferral import deferring_checks
from hf_audio_vae.modules.distributions import DiagonalGaussian
from hf_audio_vae.modules.finite import check_output
from hf_audio_vae.modules.integers import is_integer
from hf_audio_vae.runtime.coders import Coding
from hf_audio_vae.runtime.streaming import AlgorithmicLatency, Streaming, latency_of, new_streaming


class Transformation(Protocol):
    """A change of latents, and the change of waveforms that the decoder should answer with."""

    def latents(self, z: Tensor) -> Tensor:
        """Transform latents (batch, latent_channels, frames)."""

    def waveform(self, x: Tensor) -> Tensor:
        """Transform waveforms (batch, audio_channels, time)."""


class VariationalAutoencoderMixin(NormalizedLatentsMixin, AudioAutoencoderMixin):
    """A variational autoencoder of waveforms, on diffusers' `ModelMixin` and `ConfigMixin`.

    A family sets `encoder`, a network from (batch, audio_channels, frames * hop_length) to the parameters of the
    posterior, (batch, 2 * latent_channels, frames), and `decoder`, a network from latents to waveforms. It defines
    `hop_length` and `latent_channels`, and its `__init__` ends with ``self.coder = self.new_coder()``.
    """

    encoder: nn.Module
    decoder: nn.Module
    descriptive_arguments = frozenset(("latents_mean", "latents_std"))
    use_slicing = False

    @property
    @abstractmethod
    def latent_channels(self) -> int:
        """Channels of the latents."""

    def encodings(self) -> tuple[Coding]:
        """From waveforms to the parameters of posteriors."""
        return (Coding(self.encoder, self.hop_length),)

    def decodings(self) -> tuple[Coding]:
        """From latents to waveforms."""
        return (Coding(self.decoder, self.hop_length),)

    @property
    def algorithmic_latency(self) -> AlgorithmicLatency:
        """Samples until the latents and the reconstruction of a sample are determined, from the layers' spans."""
        return latency_of(*self.encodings(), *self.decodings(), sampling_rate=self.sampling_rate)

    @property
    def regulariser_terms(self) -> tuple[str, ...]:
        """`"kl"`, the KL from the prior."""
        return ("kl",)

    def freeze_encoder(self) -> None:
        """Freeze the encoder, so that only the decoder trains."""
        self.encoder.requires_grad_(False)

    def register_to_config(self, **arguments: object) -> None:
        """Register the arguments, and the latent channels by the name that `StableAudio3Pipeline` reads."""
        configured: Any = super()
        configured.register_to_config(**arguments)
        self.config.latent_dim = self.latent_channels  # an attribute, not a config key: it is not saved

    @property
    def downsampling_ratio(self) -> int:
        """`hop_length`, by the name that `StableAudio3Pipeline` reads."""
        return self.hop_length

    def use_plain_coder(self) -> None:
        """Run the layers on whole batches of whole signals, without chunks, kernels or slices."""
        super().use_plain_coder()
        self.use_slicing = False

    def reset_statistics(self) -> None:
        """Remove the statistics of the latents, which other weights do not have."""
        self.register_to_config(latents_mean=None, latents_std=None)

    def graph_parts(self) -> dict[str, GraphPart]:
        """Return the encoder, which returns the posterior's mode, and the decoder."""
        return posterior_parts(self)

    def graph_metadata(self) -> dict[str, object]:
        """Return the number of latent channels and the latent statistics."""
        statistics = {name: getattr(self.config, name) for name in ("latents_mean", "latents_std")}
        return {"latent_channels": self.latent_channels, **statistics}

    @apply_forward_hook
    @deferring_checks
    def encode(
        self, x: Tensor, return_dict: bool = True, *, sampling_rate: int | None = None
    ) -> VAEEncoderOutput | tuple[DiagonalGaussian]:
        """Encode a waveform into the posterior over its latents.

        Args:
            x (`torch.Tensor` of shape `(batch, audio_channels, time)`): Waveform in [-1, 1], any time >= 1; zeros
                are appended up to a whole frame.
            return_dict (`bool`): Return an output object rather than a tuple.
            sampling_rate (`int`, *optional*): Sampling rate of the waveform in Hz, checked against the model's.

        Returns:
            `VAEEncoderOutput`, or `(latent_dist,)`: latents are (batch, latent_channels, frames), with
            `frames = ceil(time / hop_length)`.

        Raises:
            ValueError: Wrong rank, channel count, dtype or sampling rate; empty, NaN or infinite; or the latents are
                NaN or infinite.
        """
        check_sampling_rate(sampling_rate, self.sampling_rate)
        check_waveform(x, self.config.audio_channels)
        posterior = self._encode(x, checked=True)
        return VAEEncoderOutput(latent_dist=posterior) if return_dict else (posterior,)

    @apply_forward_hook
    def encode_chunks(self, read: Callable[[int, int], Tensor], time: int) -> Iterator[DiagonalGaussian]:
        """Encode a signal too long for memory, `tile_frames` at a time; returns the same posterior as `encode`.

        Args:
            read (`Callable[[int, int], torch.Tensor]`): `read(start, stop)` returns these samples, (batch,
                audio_channels, stop - start). Samples near the edges of chunks are read twice.
            time (`int`): Length of the signal in samples, 1 or more.

        Yields:
            `DiagonalGaussian`: The posterior's next frames, (batch, latent_channels, frames), `tile_frames` or fewer.

        Raises:
            ValueError: `time` is less than 1, `read` returns another number of samples, or as `encode`.
        """
        if not is_integer(time, least=1):
            raise ValueError(f"`time` is {time!r}; pass a signal of at least 1 sample, and leave out empty ones.")

        def checked(start: int, stop: int) -> Tensor:
            waveform = read(start, stop)
            check_waveform(waveform, self.config.audio_channels)
            if waveform.shape[-1] != stop - start:
                raise ValueError(
                    f"`read({start}, {stop})` returned {waveform.shape[-1]} samples instead of {stop - start}; pass "
                    f"the `time` of the signal, {time} was given."
                )
            return waveform.to(self.dtype)

        (encoding,) = self.encodings()
        for parameters in self.coder.encode_pieces(encoding, checked, int(time)):
            check_output(parameters, "latents")
            yield self._posterior(parameters.to(self.dtype))

    @apply_forward_hook
    @deferring_checks
    def decode(
        self, z: Tensor, return_dict: bool = True, generator: torch.Generator | None = None
    ) -> VAEDecoderOutput | tuple[Tensor]:
        """Decode latents into a waveform.

        Args:
            z (`torch.Tensor` of shape `(batch, latent_channels, frames)`): Latents, frames >= 1.
            return_dict (`bool`): Return an output object rather than a tuple.
            generator (`torch.Generator`, *optional*): Unused, since decoding is deterministic; diffusers' pipelines
                pass it.

        Returns:
            `VAEDecoderOutput`, or `(sample,)`: (batch, audio_channels, frames * hop_length).

        Raises:
            ValueError: Wrong rank, channel count or dtype; empty, NaN or infinite; or the waveform is NaN or infinite.
        """
        check_latents(z, self.latent_channels)
        sample = self._decode(z)
        check_output(sample, "samples")
        return VAEDecoderOutput(sample=sample) if return_dict else (sample,)

    @deferring_checks
    def forward(
        self,
        sample: Tensor,
        sample_posterior: bool | None = None,
        return_dict: bool = True,
        generator: torch.Generator | list[torch.Generator] | None = None,
        transformation: Transformation | None = None,
    ) -> VAEOutput | tuple[Tensor | None]:
        """Encode, and decode the mean of the posterior, by default also in `train()` mode.

        A loop of training passes `sample_posterior=True`.

        Args:
            sample (`torch.Tensor` of shape `(batch, audio_channels, time)`): Waveform in [-1, 1].
            sample_posterior (`bool`, *optional*): Decode a sample of the posterior, as in the ELBO, instead of its
                mean. Default: the mean, also in `train()` mode, unless there is a `generator`.
            return_dict (`bool`): Return an output object rather than a tuple.
            generator (`torch.Generator` or a list, one per item, *optional*): Random source of the sample.
            transformation (`Transformation`, *optional*): Applied to the latents before they are decoded, and to the
                waveform that the family's own reconstruction terms compare with.

        Returns:
            `VAEOutput`, or `(sample,)`.

        Raises:
            ValueError: As `encode`, except for latents that are not finite: training has to see the resulting loss.
        """
        check_waveform(sample, self.config.audio_channels)
        posterior = self._encode(sample)
        sampled = generator is not None if sample_posterior is None else sample_posterior
        latents = posterior.sample(generator) if sampled else posterior.mode()
        if transformation is not None:
            latents, sample = transformation.latents(latents), transformation.waveform(sample)
        # Not `decode`, which checks: after an overflow, training has to see the resulting loss.
        decoded, terms = self._reconstruct(latents, sample)
        if not return_dict:
            return (decoded,)
        losses = terms | ({"kl": posterior.kl().sum(dim=1).mean()} if posterior.has_density else {})
        return VAEOutput(sample=decoded, losses=losses, latent_dist=posterior)

    def streaming(self) -> Streaming[DiagonalGaussian]:
        """Return a streaming encoder and decoder with a copy of the weights.

        Their concatenated outputs equal those of `encode` and `decode` within rounding, for pieces of any length. Each
        output is computed once, as soon as it is determined. The state does not grow.

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
        return new_streaming(
            *self.encodings(),
            *self.decodings(),
            check_waveform=partial(check_waveform, audio_channels=self.config.audio_channels),
            check_frames=partial(check_latents, latent_channels=self.latent_channels),
            wrap=self._posterior,
            pad_multiple=self.hop_length,
            sampling_rate=self.sampling_rate,
            dtype=self.dtype,
        )

    def _encode(self, waveform: Tensor, *, checked: bool = False) -> DiagonalGaussian:
        parameters = self._run(partial(self.coder.encode, *self.encodings()), waveform)
        if checked:
            check_output(parameters, "latents")
        return self._posterior(parameters)

    @property
    def _posterior(self) -> Callable[[Tensor], DiagonalGaussian]:
        """Function of an encoder's output."""
        return DiagonalGaussian.from_parameters

    def _decode(self, latents: Tensor) -> Tensor:
        return self._run(partial(self.coder.decode, *self.decodings()), latents)

    def _reconstruct(self, latents: Tensor, waveform: Tensor) -> tuple[Tensor | None, dict[str, Tensor]]:
        """Return the reconstruction, as long as the waveform, and the family's own reconstruction terms."""
        return self._decode(latents)[..., : waveform.shape[-1]], {}

    def _run(self, code: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
        x = x.to(self.dtype)
        if self.use_slicing and x.shape[0] > 1:
            return torch.cat([code(item) for item in x.split(1)])
        return code(x)
