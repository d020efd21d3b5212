import math
from typing import Any

from huggingface_hub.dataclasses import strict
from transformers import PreTrainedConfig

from hf_audio_vae.models.inputs import check_codebook, check_layers, check_product, check_size_lists, check_sizes
from hf_audio_vae.models.short_time import ShortTimeStages
from hf_audio_vae.modules.quantization import QUANTIZERS


@strict
class WaveformVQVAEConfig(PreTrainedConfig):
    """Configuration of a `WaveformVQVAE`; by default, DAC at 44.1 kHz with k-means and restarts.

    Args:
        audio_channels (`int`): Channels of the waveform.
        sampling_rate (`int`): Samples per second, in Hz.
        encoder_hidden_size (`int`): Channels after the encoder's first layer; each block doubles them.
        decoder_hidden_size (`int`): Channels after the decoder's first layer; each block halves them.
        downsampling_ratios (`tuple[int, ...]`): Strides of the encoder's blocks; the decoder's, reversed.
        hidden_size (`int`): Channels of the latents.
        activation (`str`): `"snake"`, with one learned frequency per channel, or `"elu"`.
        kernel_size (`int`): Taps of the first convolution of encoder and decoder.
        encoder_last_kernel_size (`int`): Taps of the encoder's last convolution.
        decoder_last_kernel_size (`int`): Taps of the decoder's last convolution.
        residual_kernel_size (`int`): Taps of the dilated convolution of a residual unit.
        residual_dilations (`tuple[int, ...]`): Its dilation in each of a block's residual units.
        residual_compression (`int`): Factor by which a residual unit reduces its channels inside.
        residual_shortcut (`bool`): The shortcut of a residual unit is a 1-tap convolution instead of the identity.
        norm (`str`): `"weight_norm"`, or `"time_group_norm"`: normalise the output of each convolution over all
            channels and the whole signal. Such a model can be neither causal nor coded in chunks.
        causal (`bool`): Frames read no samples after their own hop, and decoded samples read no later frames.
        pad_mode (`str`): How convolutions continue the signal: `"constant"` with zeros, `"reflect"` mirrored.
        num_lstm_layers (`int`): Layers of an LSTM over the frames, in the encoder and in the decoder; 0 for none.
        final_tanh (`bool`): Bound the decoded waveform to (-1, 1).
        normalize (`bool`): Divide each waveform by its loudness (RMS of the channels' mean) before it is encoded, and
            multiply the decoded waveform by it. Codes then come with `audio_scales`.
        num_codebooks (`int`): Number of residual quantizers.
        codebook_size (`int`): Codes of each codebook, 2 or more.
        codebook_dim (`int`, *optional*): Dimension in which the nearest code is searched; `hidden_size`, without
            projections, if `None`.
        cosine (`bool`): Find the nearest code by cosine similarity instead of distance.
        codebook_learning (`str`): Codebooks learn by `"gradient"` or are moving averages, `"ema"`.
        ema_decay (`float`): Decay of such a moving average, in [0, 1).
        restart_share (`float`, *optional*): A code with a usage below this share, in (0, 1), of the mean usage is
            replaced by a latent of the batch; `None` disables this.
        kmeans_start (`bool`): Initialize the codebooks by k-means of the first batch.
        quantizer_dropout (`float`): Share of the items that train with a random number of codebooks.
        rotation_trick (`bool`): Rotate the gradient from code to latent instead of copying it.
        fsq_levels (`tuple[int, ...]`, *optional*): Finite scalar quantization instead of codebooks: the number of
            values in each dimension, 3 or more. `num_codebooks` is then 1, `codebook_size` the product; the keys from
            `codebook_dim` to `rotation_trick` are then ignored.
        quantizer (`str`, *optional*): A name in `QUANTIZERS`, to use that quantizer instead of the two that the keys
            from `num_codebooks` to `fsq_levels` describe; these are then ignored.
        quantizer_options (`dict`, *optional*): Arguments of that quantizer, except the latent channels.
        stft_options (`dict`, *optional*): Encoder and decoder on STFT frames, as those of `STFTVAE`, instead of
            convolutions on samples: its `hidden_sizes`, `num_blocks`, `window_length`, `magnitude_exponent`,
            `kernel_size` and `expansion`. The first of `downsampling_ratios` is then the hop of the STFT, and the keys
            from `encoder_hidden_size` to `final_tanh`, except `hidden_size` and `causal`, are ignored.

    Raises:
        ValueError: A number is out of range, a name unknown, or two keys contradict each other.

    Example:
        >>> config = WaveformVQVAEConfig(downsampling_ratios=(2, 4), num_codebooks=4)
        >>> config.hop_length, config.num_codebooks
        (8, 4)
    """

    model_type = "waveform_vqvae"

    audio_channels: int = 1
    sampling_rate: int = 44100
    encoder_hidden_size: int = 64
    decoder_hidden_size: int = 1536
    downsampling_ratios: list[int] | tuple[int, ...] = (2, 4, 8, 8)
    hidden_size: int = 1024
    activation: str = "snake"
    kernel_size: int = 7
    encoder_last_kernel_size: int = 3
    decoder_last_kernel_size: int = 7
    residual_kernel_size: int = 7
    residual_dilations: list[int] | tuple[int, ...] = (1, 3, 9)
    residual_compression: int = 1
    residual_shortcut: bool = False
    norm: str = "weight_norm"
    causal: bool = False
    pad_mode: str = "constant"
    num_lstm_layers: int = 0
    final_tanh: bool = True
    normalize: bool = False
    num_codebooks: int = 9
    codebook_size: int = 1024
    codebook_dim: int | None = 8
    cosine: bool = True
    codebook_learning: str = "gradient"
    ema_decay: float | int = 0.99
    restart_share: float | int | None = 0.05
    kmeans_start: bool = True
    quantizer_dropout: float | int = 0.5
    rotation_trick: bool = False
    fsq_levels: list[int] | tuple[int, ...] | None = None
    quantizer: str | None = None
    quantizer_options: dict[str, object] | None = None
    stft_options: dict[str, object] | None = None

    def __post_init__(self, **kwargs: object) -> None:
        """Convert JSON's lists to tuples, then check values beyond their types."""
        self.downsampling_ratios = tuple(self.downsampling_ratios)
        self.residual_dilations = tuple(self.residual_dilations)
        self.fsq_levels = None if self.fsq_levels is None else tuple(self.fsq_levels)
        super().__post_init__(**kwargs)
        self._check_numbers()
        self._check_names()
        self._check_quantizer()
        _ = self.short_time_stages

    @property
    def short_time_stages(self) -> ShortTimeStages | None:
        """Encoder and decoder on STFT frames, if `stft_options` are given."""
        if self.stft_options is None:
            return None
        options: dict[str, Any] = self.stft_options
        try:
            return ShortTimeStages(
                tuple(self.downsampling_ratios), audio_channels=self.audio_channels, causal=self.causal, **options
            )
        except TypeError as error:
            raise ValueError(f"`stft_options` are {options}: {str(error).rstrip('.')}.") from error

    @property
    def hop_length(self) -> int:
        """Samples per frame."""
        return math.prod(self.downsampling_ratios)

    def _check_numbers(self) -> None:
        sizes = (
            "audio_channels",
            "sampling_rate",
            "encoder_hidden_size",
            "decoder_hidden_size",
            "hidden_size",
            "kernel_size",
            "encoder_last_kernel_size",
            "decoder_last_kernel_size",
            "residual_kernel_size",
            "residual_compression",
            "num_codebooks",
        )
        check_sizes(**{name: getattr(self, name) for name in sizes})
        check_size_lists(downsampling_ratios=self.downsampling_ratios)
        if self.residual_dilations:
            check_size_lists(residual_dilations=self.residual_dilations)
        check_layers(num_codebooks=self.num_codebooks, num_lstm_layers=self.num_lstm_layers)
        check_product("hop length", self.downsampling_ratios)
        check_product("width of the encoder", (self.encoder_hidden_size, *(2 for _ in self.downsampling_ratios)))
        if self.num_lstm_layers < 0:
            raise ValueError(f"`num_lstm_layers` is {self.num_lstm_layers}; it has to be 0 or more.")
        for name, blocks in (("encoder_hidden_size", 0), ("decoder_hidden_size", len(self.downsampling_ratios))):
            narrowest = getattr(self, name) // 2**blocks
            if narrowest < self.residual_compression:
                raise ValueError(
                    f"`{name}` {getattr(self, name)} leaves {narrowest} channels after {blocks} blocks, fewer than "
                    f"the `residual_compression` of {self.residual_compression}; increase `{name}`."
                )

    def _check_names(self) -> None:
        known = {
            "activation": ("snake", "elu"),
            "norm": ("weight_norm", "time_group_norm"),
            "pad_mode": ("constant", "reflect"),
            "codebook_learning": ("gradient", "ema"),
        }
        for name, values in known.items():
            if getattr(self, name) not in values:
                raise ValueError(f"`{name}` is {getattr(self, name)!r}; use one of {values}.")
        if self.causal and self.norm == "time_group_norm":
            raise ValueError(
                '`norm="time_group_norm"` reads the whole signal and cannot be `causal`; use "weight_norm".'
            )

    def _check_quantizer(self) -> None:
        if self.codebook_dim is not None:
            check_sizes(codebook_dim=self.codebook_dim)
        if not 0 <= self.quantizer_dropout <= 1:
            raise ValueError(f"`quantizer_dropout` is {self.quantizer_dropout}; it is a share, between 0 and 1.")
        check_codebook(self.codebook_size, self.ema_decay, self.restart_share)
        if self.quantizer is not None and self.quantizer not in QUANTIZERS:
            raise ValueError(f"`quantizer` is {self.quantizer!r}; use one of {', '.join(QUANTIZERS)}.")
        if self.quantizer is None and self.quantizer_options is not None:
            raise ValueError(f"`quantizer_options` is {self.quantizer_options}; name the `quantizer` that takes them.")
        if self.fsq_levels is None:
            return
        codes = math.prod(self.fsq_levels)
        if not self.fsq_levels or min(self.fsq_levels) < 3:
            raise ValueError(f"`fsq_levels` is {self.fsq_levels}; give 3 or more values for each dimension.")
        if (self.num_codebooks, self.codebook_size) != (1, codes):
            raise ValueError(
                f"`fsq_levels` {self.fsq_levels} make one codebook of {codes} codes, but `num_codebooks` is "
                f"{self.num_codebooks} and `codebook_size` {self.codebook_size}; set them to 1 and {codes}."
            )
