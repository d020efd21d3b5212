"""VAE with an autoregressive WaveNet as its decoder (van den Oord et al., arXiv:1609.03499, arXiv:1711.00937)."""

import math
from collections.abc import Callable, Sequence
from functools import partial
from numbers import Real
from typing import Any, ClassVar

import torch
from diffusers.models.autoencoders.vae import AutoencoderMixin
from diffusers.utils.accelerate_utils import apply_forward_hook
from torch import Tensor
from tqdm.auto import tqdm
from transformers import PreTrainedModel

from hf_audio_vae.models.graph_parts import GraphPart
from hf_audio_vae.models.inputs import check_latents, check_waveform
from hf_audio_vae.models.transformers_autoencoder import TransformersAutoencoderMixin
from hf_audio_vae.models.variational import VariationalAutoencoderMixin
from hf_audio_vae.models.variational_outputs import VAEDecoderOutput
from hf_audio_vae.models.wave_vae.configuration_wave_vae import WaveVAEConfig
from hf_audio_vae.modules.autoregressive import AutoregressiveWaveNet
from hf_audio_vae.modules.finite import check_output
from hf_audio_vae.modules.frame_generation import FrameGenerator, UniformNoise
from hf_audio_vae.modules.sample_distributions import DISTRIBUTIONS
from hf_audio_vae.modules.wavenet import DraftedDecoder, FrameNetwork, WaveNetDecoder, WaveNetEncoder
from hf_audio_vae.runtime.coders import Coding, LayerRange
from hf_audio_vae.runtime.fused.wavenet import compiled_wavenet
from hf_audio_vae.runtime.snake_cpu import compiled_kernels_are_allowed

Generators = torch.Generator | Sequence[torch.Generator]
NO_GRAPH = "a WaveVAE draws one sample after another to decode, which a graph cannot; export or compile only `encode`."


class WaveVAE(VariationalAutoencoderMixin, TransformersAutoencoderMixin, PreTrainedModel, AutoencoderMixin):  # type: ignore[misc]
    """WaveNet autoencoder: gated dilated convolutions down to latents, and a WaveNet conditioned on them.

    The decoder predicts the distribution of each sample from the samples before it and from the latents. It trains on
    all samples at once with the negative log-likelihood, the term `"nll"` of `losses` in nats per sample, and draws
    one sample after another to decode.

    With `stft_options`, the decoder also has a draft: a waveform that it computes from the latents. The WaveNet then
    models the difference of a waveform from its draft, given the spectrum of the draft. Their densities are equal, so
    `"nll"` remains the negative log-likelihood of the waveform. In training, `sample` is the draft.

    Args:
        config (`WaveVAEConfig`): Layers of the model.

    Example:
        >>> config = WaveVAEConfig(downsampling_ratios=(2, 5), window_length=64, hidden_size=8, latent_channels=4,
        ...     residual_channels=8, skip_channels=16, num_stacks=1, layers_per_stack=4)
        >>> model = WaveVAE(config).eval()
        >>> waveform = torch.rand(1, 1, 123) - 0.5
        >>> latents = model.encode(waveform).latent_dist.mode()
        >>> latents.shape, model.decode(latents).sample.shape, model(waveform).sample.shape
        (torch.Size([1, 4, 13]), torch.Size([1, 1, 130]), torch.Size([1, 1, 123]))
        >>> other = model.generate(latents, temperature=0.5, generator=torch.Generator().manual_seed(1))
        >>> other.shape
        torch.Size([1, 1, 130])
    """

    config: WaveVAEConfig
    decoder: WaveNetDecoder
    config_class = WaveVAEConfig
    base_model_prefix = "wave_vae"
    main_input_name = "sample"
    input_modalities = "audio"
    supports_gradient_checkpointing = True
    descriptive_arguments: ClassVar[frozenset[str]] = frozenset(
        ("latents_mean", "latents_std", "past_dropout", "nll_share")
    )
    _no_split_modules = ["GatedStage", "GatedUnit", "AutoregressiveWaveNet", "ShortTimeStage", "ConvNeXtBlock"]

    def __init__(self, config: WaveVAEConfig) -> None:
        super().__init__(config)
        stages = config.short_time_stages
        self.encoder = _wavenet_encoder(config) if stages is None else stages.encoder(2 * config.latent_channels)
        if stages is None:
            self.decoder = WaveNetDecoder(_frame_network(config, config.latent_channels), _wavenet(config))
        else:
            window = max(config.window_length, 2 * config.hop_length)
            frames = _frame_network(config, config.audio_channels * (window // 2 + 1))
            draft = stages.decoder(config.latent_channels)
            self.decoder = DraftedDecoder(frames, _wavenet(config), draft, window)
        self.coder = self.new_coder()
        self.post_init()

    @property
    def hop_length(self) -> int:
        """Samples per frame."""
        return self.config.hop_length

    @property
    def latent_channels(self) -> int:
        """Channels of the latents."""
        return self.config.latent_channels

    @property
    def reconstruction_terms(self) -> tuple[str, ...]:
        """Names of the terms of `losses` that the model trains on: `"nll"`, in nats per sample."""
        return ("nll",)

    @property
    def trains_on_waveforms(self) -> bool:
        """Whether the reconstruction in training is a waveform: a draft."""
        return self.decoder.draft is not None

    @property
    def decodes_whole_signals(self) -> bool:
        """Whether every sample depends on the whole signal: it depends on all samples before it."""
        return True

    @property
    def decodes_sample_by_sample(self) -> bool:
        """Whether one sample is drawn after another."""
        return True

    def register_to_config(self, **arguments: object) -> None:
        """Set values of the configuration, as diffusers' models do."""
        for name, value in arguments.items():
            setattr(self.config, name, value)

    def graph_parts(self) -> dict[str, GraphPart]:
        """Return the encoder, which returns the posterior's mode; a graph cannot draw one sample after another."""
        return {"encoder": super().graph_parts()["encoder"]}

    def decode(
        self, z: Tensor, return_dict: bool = True, generator: Generators | None = None
    ) -> VAEDecoderOutput | tuple[Tensor]:
        """Decode latents into a waveform, one sample after another.

        Args:
            z (`torch.Tensor` of shape `(batch, latent_channels, frames)`): Latents, frames >= 1.
            return_dict (`bool`): Return an output object rather than a tuple.
            generator (`torch.Generator` or a list, one per item, *optional*): Random source of the samples. If not
                given, every item has the random numbers of seed 0, so that equal latents give equal samples.

        Returns:
            `VAEDecoderOutput`, or `(sample,)`: (batch, audio_channels, frames * hop_length).

        Raises:
            ValueError: Wrong rank, channel count or dtype; empty, NaN or infinite; or the waveform is NaN or infinite.
        """
        sample = self.generate(z, generator=generator)
        return VAEDecoderOutput(sample=sample) if return_dict else (sample,)

    @apply_forward_hook
    def generate(  # type: ignore[override]  # of latents, not of tokens
        self,
        latents: Tensor,
        *,
        temperature: float = 1.0,
        generator: Generators | None = None,
        streamer: Callable[[Tensor], object] | None = None,
    ) -> Tensor:
        """Generate a waveform from latents. A sample costs one column of each layer; `fuse()` makes it faster.

        `set_progress_bar_config` switches a progress bar on.

        Args:
            latents (`torch.Tensor` of shape `(batch, latent_channels, frames)`): Latents, frames >= 1.
            temperature (`float`): Factor of the spread of the drawn samples; 0 takes the most probable value.
            generator (`torch.Generator` or a list, one per item, *optional*): Random source, see `decode`.
            streamer (`Callable`, *optional*): Called with the samples of each frame when they are there, (batch,
                audio_channels, hop_length).

        Returns:
            `torch.Tensor` of shape `(batch, audio_channels, frames * hop_length)`: Samples in [-1, 1].

        Raises:
            ValueError: As `decode`, or the temperature is negative or not finite.
        """
        check_latents(latents, self.latent_channels)
        if isinstance(temperature, bool) or not isinstance(temperature, Real) or not 0 <= temperature < math.inf:
            raise ValueError(f"`temperature` is {temperature!r}; use a finite number of 0 or more.")
        sample = self._generate(latents, float(temperature), generator, streamer)
        check_output(sample, "samples")
        return sample

    @torch.compiler.disable(reason=NO_GRAPH)
    @torch.no_grad()
    def _generate(
        self,
        latents: Tensor,
        temperature: float = 1.0,
        generator: Generators | None = None,
        streamer: Callable[[Tensor], object] | None = None,
    ) -> Tensor:
        if torch.compiler.is_exporting():
            raise ValueError(NO_GRAPH)
        noise = UniformNoise(latents.shape[0], generator)
        decoder: Any = self.coder.network(self.decoder)
        wavenet: FrameGenerator = decoder.wavenet
        if decoder is self.decoder and compiled_kernels_are_allowed():
            wavenet = compiled_wavenet(decoder.wavenet) or wavenet
        draft = self._draft(latents)
        frames = self._frames(latents, draft)
        options = {"total": frames.shape[-1] * self.hop_length, "unit": "sample", "unit_scale": True}
        drafts = iter(() if draft is None else draft.split(self.hop_length, dim=-1))
        with tqdm(**{**options, **self._progress_bar}) as bar:

            def put(generated: Tensor) -> None:
                bar.update(self.hop_length)
                if streamer is not None:
                    streamer(_sum(next(drafts, None), generated))

            generated = wavenet.generate(frames, noise, temperature, put=put).to(frames.dtype)
        return _sum(draft, generated)

    @apply_forward_hook
    def nll(self, latents: Tensor, waveform: Tensor) -> Tensor:
        """Return the negative log-likelihood of a waveform given latents, in nats of each sample.

        Args:
            latents (`torch.Tensor` of shape `(batch, latent_channels, frames)`): Latents.
            waveform (`torch.Tensor` of shape `(batch, audio_channels, time)`): Samples, at most `frames * hop_length`.

        Returns:
            `torch.Tensor` of shape `(batch, audio_channels, time)`: Float32.

        Raises:
            ValueError: Wrong rank, channel count or dtype; empty, NaN or infinite.
        """
        check_latents(latents, self.latent_channels)
        check_waveform(waveform, self.config.audio_channels)
        draft = self._draft(latents)
        return self._nll(self._frames(latents, draft), self._generated(waveform, draft))

    @apply_forward_hook
    def draft(self, latents: Tensor) -> Tensor | None:
        """Compute the draft of a waveform, which takes far less time than its samples.

        Args:
            latents (`torch.Tensor` of shape `(batch, latent_channels, frames)`): Latents.

        Returns:
            `torch.Tensor` of shape `(batch, audio_channels, frames * hop_length)`, or `None` without `stft_options`.

        Raises:
            ValueError: Wrong rank, channel count or dtype; empty, NaN or infinite.
        """
        check_latents(latents, self.latent_channels)
        return self._draft(latents)

    def _nll(self, frames: Tensor, generated: Tensor) -> Tensor:
        dropped = None
        if self.training and self.config.past_dropout:
            shape = (frames.shape[0], 1, frames.shape[2])
            dropped = torch.rand(shape, device=frames.device) < self.config.past_dropout
        return self.decoder.wavenet.nll(frames, generated, dropped=dropped)

    def _generated(self, waveform: Tensor, draft: Tensor | None) -> Tensor:
        """Return the part of a waveform that the WaveNet generates."""
        waveform = waveform.to(self.dtype)
        return waveform if draft is None else waveform - draft[..., : waveform.shape[-1]]

    def _frames(self, latents: Tensor, draft: Tensor | None) -> Tensor:
        """Return the frames that condition the WaveNet, (batch, hidden_size, frames)."""
        decoder, hop_length = self.decoder, self.hop_length
        if draft is not None:
            analysis = Coding(LayerRange(decoder.conditioning), hop_length)
            return self._run(partial(self.coder.encode, analysis), draft)
        synthesis = Coding(LayerRange((*decoder.conditioning, decoder.clock)), hop_length)
        return self._run(partial(self.coder.decode, synthesis), latents)

    def _draft(self, latents: Tensor) -> Tensor | None:
        """(batch, latent_channels, frames) -> (batch, audio_channels, frames * hop_length), if there is a draft."""
        if self.decoder.draft is None:
            return None
        return self._run(partial(self.coder.decode, Coding(self.decoder.draft, self.hop_length)), latents)

    def _decode(self, latents: Tensor) -> Tensor:
        return self._generate(latents)

    def _reconstruct(self, latents: Tensor, waveform: Tensor) -> tuple[Tensor | None, dict[str, Tensor]]:
        draft = self._draft(latents)
        frames, generated = self._frames(latents, draft), self._generated(waveform, draft)
        trains = self.training and torch.is_grad_enabled()  # generation has no part in it
        nll = self._nll_of_part(frames, generated) if trains else self._nll(frames, generated)
        sample = draft if trains else self._decode(latents)
        return None if sample is None else sample[..., : waveform.shape[-1]], {"nll": nll.mean()}

    def _nll_of_part(self, frames: Tensor, generated: Tensor) -> Tensor:
        """Return the likelihoods of `nll_share` of the frames, from a random start that all items share.

        The WaveNet reads the samples before them: zeros instead would teach it that loud sound follows silence.
        """
        count = max(round(self.config.nll_share * frames.shape[-1]), 1)
        before = min(-(-self.decoder.wavenet.receptive_field // self.hop_length), frames.shape[-1] - count)
        first = int(torch.randint(frames.shape[-1] - count - before + 1, ()))
        stop = first + before + count
        part = generated[..., first * self.hop_length : stop * self.hop_length]
        return self._nll(frames[..., first:stop], part)[..., before * self.hop_length :]


def _wavenet(config: WaveVAEConfig) -> AutoregressiveWaveNet:
    return AutoregressiveWaveNet(
        config.audio_channels,
        config.hidden_size,
        config.residual_channels,
        config.skip_channels,
        config.dilations,
        config.hop_length,
        DISTRIBUTIONS[config.distribution](config.num_components),
    )


def _frame_network(config: WaveVAEConfig, in_channels: int) -> FrameNetwork:
    return FrameNetwork(in_channels, config.hidden_size, tuple(config.unit_dilations))


def _wavenet_encoder(config: WaveVAEConfig) -> WaveNetEncoder:
    return WaveNetEncoder(
        config.audio_channels,
        config.hidden_size,
        tuple(config.downsampling_ratios),
        tuple(config.unit_dilations),
        config.latent_channels,
        config.window_length,
    )


def _sum(draft: Tensor | None, generated: Tensor) -> Tensor:
    """Return the samples of a draft and of what the WaveNet generated."""
    return generated if draft is None else (draft + generated).clamp(-1, 1)
