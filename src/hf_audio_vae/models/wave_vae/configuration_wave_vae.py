import math
from typing import Any

from huggingface_hub.dataclasses import strict
from transformers import PreTrainedConfig

from hf_audio_vae.models.inputs import check_product, check_size_lists, check_sizes
from hf_audio_vae.models.normalization import check_statistics
from hf_audio_vae.models.short_time import ShortTimeStages
from hf_audio_vae.modules.sample_distributions import DISTRIBUTIONS


@strict
class WaveVAEConfig(PreTrainedConfig):
    """Configuration of a `WaveVAE`.

    Args:
        audio_channels (`int`): Channels of the waveform.
        sampling_rate (`int`): Samples per second, in Hz.
        downsampling_ratios (`tuple[int, ...]`): Hop of the encoder's spectrum in samples, then the stride of each
            further stage.
        window_length (`int`): Samples per window of the spectrum, two or more hops.
        hidden_size (`int`): Channels of the encoder's layers and of the decoder's layers at the frame rate.
        unit_dilations (`tuple[int, ...]`): Dilations of the gated units of each stage of the encoder, and of those at
            the frame rate of the decoder.
        latent_channels (`int`): Channels of the latents.
        residual_channels (`int`): Channels of the residual stream of the autoregressive WaveNet.
        skip_channels (`int`): Channels of the sum over its layers.
        num_stacks (`int`): Repetitions of its dilations.
        layers_per_stack (`int`): Layers of each repetition, with dilations 1, 2, 4 and so on.
        distribution (`str`): Distribution of a sample: `"logistic_mixture"` of 16-bit samples, or `"mu_law"` classes.
        num_components (`int`): Components of the mixture, or classes; 2 or more.
        past_dropout (`float`): Share of the frames in training, in [0, 1), whose samples are hidden from the
            predictions of later samples. These depend on the latents then.
        nll_share (`float`): Share of the frames of a crop in training, in (0, 1], whose likelihood is computed:
            consecutive ones from a random start. The WaveNet takes most of the time of a step, and a draft learns from
            all frames.
        stft_options (`dict`, *optional*): The encoder of `STFTVAE`, whose latents carry the phase, and its decoder,
            which computes a draft of the waveform. The autoregressive WaveNet then generates the difference from the
            draft, conditioned on the spectrum of the draft. These are its `hidden_sizes`, `num_blocks`,
            `magnitude_exponent`, `kernel_size` and `expansion`.
        latents_mean (`tuple[float, ...]`, *optional*): Mean of each latent channel over the data, for
            `normalize_latents`; measured by `hf-audio-vae statistics`.
        latents_std (`tuple[float, ...]`, *optional*): Standard deviation of each, measured likewise.

    Raises:
        ValueError: A number is out of range, the distribution is unknown, or the statistics do not fit.

    Example:
        >>> config = WaveVAEConfig(downsampling_ratios=(4, 5), window_length=16, num_stacks=2, layers_per_stack=3)
        >>> config.hop_length, config.dilations
        (20, (1, 2, 4, 1, 2, 4))
    """

    model_type = "wave_vae"

    audio_channels: int = 1
    sampling_rate: int = 16000
    downsampling_ratios: list[int] | tuple[int, ...] = (80, 4)
    window_length: int = 1024
    hidden_size: int = 128
    unit_dilations: list[int] | tuple[int, ...] = (1, 3)
    latent_channels: int = 32
    residual_channels: int = 64
    skip_channels: int = 256
    num_stacks: int = 3
    layers_per_stack: int = 10
    distribution: str = "logistic_mixture"
    num_components: int = 10
    past_dropout: float | int = 0.0
    nll_share: float | int = 1.0
    stft_options: dict[str, object] | None = None
    latents_mean: list[float | int] | tuple[float | int, ...] | None = None
    latents_std: list[float | int] | tuple[float | int, ...] | None = None

    def __post_init__(self, **kwargs: object) -> None:
        """Convert JSON's lists to tuples, then check values beyond their types."""
        for name in ("downsampling_ratios", "unit_dilations", "latents_mean", "latents_std"):
            value = getattr(self, name)
            setattr(self, name, None if value is None else tuple(value))
        super().__post_init__(**kwargs)
        sizes = "audio_channels sampling_rate hidden_size latent_channels residual_channels skip_channels"
        names = (*sizes.split(), "window_length", "num_stacks", "layers_per_stack")
        check_sizes(**{name: getattr(self, name) for name in names})
        check_size_lists(downsampling_ratios=self.downsampling_ratios, unit_dilations=self.unit_dilations)
        check_product("downsampling_ratios", self.downsampling_ratios)
        if self.distribution not in DISTRIBUTIONS:
            raise ValueError(f"`distribution` is {self.distribution!r}; use one of {', '.join(DISTRIBUTIONS)}.")
        if self.num_components < 2:
            raise ValueError(f"`num_components` is {self.num_components}; use 2 or more.")
        if self.layers_per_stack > MOST_LAYERS_PER_STACK:
            raise ValueError(f"`layers_per_stack` is {self.layers_per_stack}; use at most {MOST_LAYERS_PER_STACK}.")
        if not 0 <= self.past_dropout < 1:
            raise ValueError(f"`past_dropout` is {self.past_dropout}; use a share in [0, 1).")
        if not 0 < self.nll_share <= 1:
            raise ValueError(f"`nll_share` is {self.nll_share}; use a share in (0, 1].")
        if self.short_time_stages is not None and self.distribution == "mu_law":
            raise ValueError(
                '`distribution` is "mu_law", but `stft_options` are given: the difference from a draft has no mu-law '
                'classes; use "logistic_mixture".'
            )
        check_statistics(self.latents_mean, self.latents_std, self.latent_channels)

    @property
    def short_time_stages(self) -> ShortTimeStages | None:
        """Encoder and draft on STFT frames, if `stft_options` are given."""
        if self.stft_options is None:
            return None
        options: dict[str, Any] = self.stft_options
        fixed: dict[str, Any] = {
            "audio_channels": self.audio_channels,
            "window_length": self.window_length,
            "causal": False,
        }
        try:
            return ShortTimeStages(tuple(self.downsampling_ratios), **fixed, **options)
        except TypeError as error:
            raise ValueError(f"`stft_options` are {options}: {str(error).rstrip('.')}.") from error

    @property
    def hop_length(self) -> int:
        """Samples per frame."""
        return math.prod(self.downsampling_ratios)

    @property
    def dilations(self) -> tuple[int, ...]:
        """Dilation of each layer of the autoregressive WaveNet."""
        return tuple(2**layer for layer in range(self.layers_per_stack)) * self.num_stacks


MOST_LAYERS_PER_STACK = 20  # a dilation of a minute at 8 kHz
