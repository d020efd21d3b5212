import math

from huggingface_hub.dataclasses import strict
from transformers import PreTrainedConfig

from hf_audio_vae.models.inputs import check_codebook, check_layers, check_product, check_size_lists, check_sizes

Sequence = tuple[int, ...] | list[int]


@strict
class HierarchicalVQVAEConfig(PreTrainedConfig):
    """Configuration of a `HierarchicalVQVAE`; the defaults are the published Jukebox autoencoder's.

    Sequences hold one number per level, the finest first. Level `l` divides the rate of the level before it by
    ``strides[l] ** downsampling_counts[l]``.

    Args:
        audio_channels (`int`): Channels of the waveform.
        sampling_rate (`int`): Samples per second, in Hz.
        downsampling_counts (`tuple[int, ...]`): Strided convolutions of each level.
        strides (`tuple[int, ...]`): The stride of each of these convolutions.
        hidden_size (`int`): Channels of the latents and of the codebooks, the same at every level.
        width (`int`): Channels inside a level's encoder and decoder, before its multiplier.
        depth (`int`): Residual units after each strided convolution, before the level's multiplier.
        level_multipliers (`tuple[int, ...]`): Factors on width and depth of each level's encoder and decoder.
        unit_expansion (`float`): Channels between the two convolutions of a residual unit, in units of its width.
        dilation_growth (`int`): The dilation of unit `i` is `dilation_growth ** i`, counted from 0.
        dilation_cycle (`int`, *optional*): Number of units after which the count restarts at 0.
        reverse_decoder_dilation (`bool`): Decoders have their largest dilation first.
        shared_encoder (`bool`): One encoder whose blocks feed all levels, instead of one encoder per level. Block
            `l` has the multiplier of level `l`.
        joint_decoding (`bool`): The coarsest decoder takes the latents of all levels, each at its own rate, and its
            output is the model's reconstruction. Otherwise, the finest level alone gives the reconstruction.
        codebook_size (`int`): Vectors in each level's codebook, 2 or more.
        cosine (`bool`): Find the nearest vector by cosine similarity instead of distance.
        ema_decay (`float`): Decay of the codebook's moving average, in [0, 1).
        restart_share (`float`, *optional*): A vector with a usage below this share, in (0, 1), of the mean usage is
            replaced by a latent of the batch; `None` disables this.
        kmeans_start (`bool`): Initialize the codebook by k-means of the first batch.
        rotation_trick (`bool`): Rotate the gradient from codes to latents instead of copying it (Fifty et al.,
            arXiv:2410.06424).

    Raises:
        ValueError: A size is less than 1, sequences differ in length, or a share is out of its range.

    Example:
        >>> config = HierarchicalVQVAEConfig(downsampling_counts=(3, 2), strides=(2, 2), level_multipliers=(1, 1))
        >>> config.hop_lengths
        (8, 32)
    """

    model_type = "hierarchical_vqvae"

    audio_channels: int = 1
    sampling_rate: int = 44100
    downsampling_counts: Sequence = (3, 2, 2)
    strides: Sequence = (2, 2, 2)
    hidden_size: int = 64
    width: int = 32
    depth: int = 4
    level_multipliers: Sequence = (2, 1, 1)
    unit_expansion: float | int = 1.0
    dilation_growth: int = 3
    dilation_cycle: int | None = None
    reverse_decoder_dilation: bool = True
    shared_encoder: bool = False
    joint_decoding: bool = False
    codebook_size: int = 2048
    cosine: bool = False
    ema_decay: float | int = 0.99
    restart_share: float | int | None = 0.05
    kmeans_start: bool = True
    rotation_trick: bool = False

    def __post_init__(self, **kwargs: object) -> None:
        self.downsampling_counts = tuple(self.downsampling_counts)  # JSON makes them lists
        self.strides = tuple(self.strides)
        self.level_multipliers = tuple(self.level_multipliers)
        self._check_levels()
        self._check_sizes()
        super().__post_init__(**kwargs)

    def _check_levels(self) -> None:
        sequences = {key: getattr(self, key) for key in ("downsampling_counts", "strides", "level_multipliers")}
        check_size_lists(**sequences)
        if len({len(value) for value in sequences.values()}) > 1:
            raise ValueError(
                f"{', '.join(f'`{key}` {value}' for key, value in sequences.items())} have to name the same levels: "
                f"give one number per level."
            )
        check_layers(downsampling_counts=sum(self.downsampling_counts))
        check_product("hop length", self.hop_lengths[-1:])

    def _check_sizes(self) -> None:
        sizes = ("audio_channels", "sampling_rate", "hidden_size", "width", "depth", "dilation_growth")
        check_sizes(**{key: getattr(self, key) for key in sizes})
        if self.dilation_cycle is not None:
            check_sizes(dilation_cycle=self.dilation_cycle)
        multiplier = max(self.level_multipliers)
        depth = self.depth * multiplier
        check_layers(depth=depth)
        check_product("largest dilation", [self.dilation_growth] * (min(depth, self.dilation_cycle or depth) - 1))
        check_product("width of a residual unit", (self.unit_expansion, self.width, multiplier))
        check_product("width of a level", (self.width, multiplier))
        if int(self.unit_expansion * self.width) < 1:
            raise ValueError(
                f"`unit_expansion` {self.unit_expansion} of a `width` of {self.width} leaves a residual unit no "
                f"channel; raise one of them."
            )
        check_codebook(self.codebook_size, self.ema_decay, self.restart_share)

    @property
    def hop_lengths(self) -> tuple[int, ...]:
        """Samples per frame of each level."""
        factors = [stride**count for stride, count in zip(self.strides, self.downsampling_counts, strict=True)]
        return tuple(math.prod(factors[: level + 1]) for level in range(len(factors)))
