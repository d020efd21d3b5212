"""The common interface of all families. Other code calls these methods and never checks the class of a model."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, Self

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from hf_audio_vae.files.pretrained import CheckedPretrainedMixin
from hf_audio_vae.models.graph_parts import GraphPart, code_parts
from hf_audio_vae.models.inputs import check_tile_frames
from hf_audio_vae.runtime.coders import ChunkedCoder, Coder, Coding, Tiles, WholeCoder
from hf_audio_vae.runtime.fused_coder import FusedCoder, fused
from hf_audio_vae.runtime.streaming import Streaming


class SavesModel(Protocol):
    """A format of another class."""

    @property
    def original_class(self) -> Any:
        """The class."""

    def expresses(self, model: Any) -> bool:
        """Return whether the class can express a model."""

    def save(self, model: Any, folder: Path) -> None:
        """Write the folder of a model."""


class AudioAutoencoderMixin(CheckedPretrainedMixin, nn.Module, ABC):
    """An autoencoder of waveforms, on diffusers' `ModelMixin` and `ConfigMixin`.

    A family defines layers, `encode`, `decode` and `forward`, and describes both directions by `encodings` and
    `decodings`. Chunked and fused coding, export and construction are based on these. The model sets
    ``self.coder = self.new_coder()`` after it has made its networks.

    ``forward(waveform, generator=)`` returns an output with these attributes:

    - `sample` (`torch.Tensor` of shape `(batch, audio_channels, time)`): The reconstruction.
    - `reconstructions` (`tuple[torch.Tensor, ...]`): Predictions that training compares with the waveform if the
      model `trains_on_waveforms`.
    - `losses` (`dict[str, torch.Tensor]`): The regularisers by name, scalars.
    - `regularisers` (`dict[str, torch.Tensor]`): `losses` for training; `"kl"` has one value per latent channel.
    - `latent_dist` (`DiagonalGaussian`) if the model has a posterior, or `audio_codes` if it has codebooks.

    With a `generator`, the posterior is sampled; without, its mode is decoded.
    """

    coder: Coder
    config: Any
    encode: Callable[..., Any]
    decode: Callable[..., Any]
    streaming: Callable[..., Streaming[Any]]
    enable_gradient_checkpointing: Callable[..., None]
    freeze_encoder: Callable[[], None]
    library_name: ClassVar[str] = "diffusers"  # of the base class, as model cards name it
    codes_by_level: ClassVar[bool] = False  # codes are a tuple with one tensor per level
    descriptive_arguments: ClassVar[frozenset[str]] = frozenset()  # that change neither encoding nor decoding
    published_format: SavesModel | None = None  # of the class whose folder this model was read from
    learning_by_statistics: ClassVar[tuple[type[nn.Module], ...]] = (_BatchNorm,)  # in training mode
    statistics_are_frozen = False
    _progress_bar: Mapping[str, Any] = MappingProxyType({"disable": True})

    if TYPE_CHECKING:  # defined by the library's base class

        @property
        def device(self) -> torch.device:
            """Device of the weights."""

        @property
        def dtype(self) -> torch.dtype:
            """Dtype of the weights."""

    @property
    @abstractmethod
    def hop_length(self) -> int:
        """Samples per frame, of the coarsest level if there are several."""

    @property
    def frame_rate(self) -> float:
        """Frames per second, in Hz, of the coarsest level if there are several."""
        return self.sampling_rate / self.hop_length

    @property
    def sampling_rate(self) -> int:
        """Samples per second, in Hz."""
        return self.config.sampling_rate

    @classmethod
    def family_name(cls) -> str:
        """Name of the class that recipes and records name."""
        return cls.__name__

    @property
    def published_class(self) -> type:
        """Class that loads the folder of `save_published` with `from_pretrained`."""
        return type(self) if self.published_format is None else self.published_format.original_class

    @property
    def published_module(self) -> nn.Module:
        """Module whose names of layers the saved weights have."""
        return self

    def arguments(self) -> dict[str, object]:
        """Return the arguments that make such a model."""
        return {name: getattr(self.config, name) for name in self.argument_names()}

    def function_config(self) -> dict[str, object]:
        """Return the arguments that define encoding and decoding, except defaults: new arguments change nothing."""
        defaults = self.argument_defaults()
        values = {key: value for key, value in self.arguments().items() if key not in self.descriptive_arguments}
        return {key: value for key, value in values.items() if _as_list(value) != _as_list(defaults[key])}

    @property
    def codebook_sizes(self) -> tuple[int, ...]:
        """Number of codes of each codebook; empty if the model has latents."""
        return ()

    @property
    def codebook_hop_lengths(self) -> tuple[int, ...]:
        """Samples per code of each codebook."""
        return (self.hop_length,) * len(self.codebook_sizes)

    @property
    def reconstruction_terms(self) -> tuple[str, ...]:
        """Names of the terms of `losses` that the model trains on as reconstruction losses; most have none."""
        return ()

    @property
    @abstractmethod
    def regulariser_terms(self) -> tuple[str, ...]:
        """Names of the other terms of `losses`, which training adds to the reconstruction losses."""

    @property
    def trains_on_waveforms(self) -> bool:
        """Whether training compares `reconstructions` with the waveform; with `reconstruction_terms`, most do not."""
        return not self.reconstruction_terms

    @property
    def decodes_whole_signals(self) -> bool:
        """Whether every sample depends on the whole signal, although the layers code in chunks."""
        return False

    @property
    def decodes_sample_by_sample(self) -> bool:
        """Whether decoding draws one sample after another: it takes long, and no graph holds it."""
        return False

    def set_progress_bar_config(self, **options: object) -> None:
        """Show a progress bar in models that decode sample by sample; others have none, and it is off by default.

        Args:
            options: Arguments of `tqdm`. With `disable=None` the bar is shown on a terminal only.
        """
        self._progress_bar = options

    @property
    def codes_need_scales(self) -> bool:
        """Whether codes lack the loudness, so that `decode` needs scales."""
        return False

    def latents_of_codes(self, codes: Any) -> tuple[Tensor, ...]:
        """Return the quantized latents of codes, (batch, channels, frames) per level; none if the model has no codes.

        Args:
            codes: `audio_codes`, as `encode` returns them.
        """
        return ()

    @abstractmethod
    def encodings(self) -> tuple[Coding, ...]:
        """Return one `Coding` per encoder."""

    @abstractmethod
    def decodings(self) -> tuple[Coding, ...]:
        """Return one `Coding` per decoder."""

    def new_coder(self) -> WholeCoder:
        """Return the coder that runs the layers on whole signals."""
        return WholeCoder(self._tiles(None))

    @property
    def networks(self) -> tuple[nn.Module, ...]:
        """Encoders and decoders."""
        return tuple(coding.network for coding in (*self.encodings(), *self.decodings()))

    @property
    def use_tiling(self) -> bool:
        """Whether signals are coded in chunks."""
        return self.coder.layers.chunked

    @use_tiling.setter
    def use_tiling(self, value: bool) -> None:
        self.coder = self.coder.with_layers((ChunkedCoder if value else WholeCoder)(self.coder.layers.tiles))

    @property
    def default_tile_frames(self) -> int:
        """Default of `tile_frames`: twelve times the frames that a decoder reads for one, or 30 s on a GPU."""
        return self._tiles(None).default()

    @property
    def tile_frames(self) -> int:
        """Maximum number of frames per chunk."""
        return self.coder.layers.tiles.most()

    def enable_tiling(self, tile_frames: int | None = None) -> None:
        """Encode and decode in chunks, with the same result; memory does not grow with the length.

        The window of a chunk also holds the surrounding frames that its result depends on. An LSTM depends on all
        earlier frames and runs over all frames at once, so its input and output are in memory as a whole, at the
        frame rate.

        Args:
            tile_frames (`int`, *optional*): Frames per chunk, of the coarsest level if there are several. All windows
                of signals longer than a window then have one shape, as required for networks compiled with static
                shapes. A shorter signal has its own shape, and an LSTM has one shape per length. If not given, a
                signal is split into the fewest chunks of equal length with at most `default_tile_frames`.

        Raises:
            ValueError: `tile_frames` is less than 1, or the model normalises over time.
        """
        check_tile_frames(tile_frames)
        for module in self.spanned_modules():
            if (input_span := getattr(module, "input_span", None)) is not None:
                input_span(0, 1)  # raises an error if every output depends on the whole signal
        self.coder = self.coder.with_layers(ChunkedCoder(self._tiles(tile_frames)))

    def spanned_modules(self) -> Iterable[nn.Module]:
        """Return modules that include all with an `input_span`."""
        return self.modules()

    def disable_tiling(self) -> None:
        """Encode and decode whole signals."""
        self.use_tiling = False

    def fuse(self) -> None:
        """Prepare encoder and decoder for inference: several times faster on a CPU, with small, constant memory.

        Weight norm is folded. On a CPU with a C compiler, compiled kernels run the convolutions with their Snakes,
        chunk by chunk, and compute each value once. They support float32, and bfloat16 if the processor multiplies
        it. In float32, results agree within 1e-5 of the largest value. Layers without a kernel (LSTM, group norm,
        mirrored padding, ELU), other devices and other dtypes use torch's layers with the folded weights.

        The model itself does not change: it trains, saves and moves as before. `encode`, `decode` and `forward` use
        the fused form while no gradients are recorded (`torch.no_grad()`, `torch.inference_mode()`), unless `encode`
        and `decode` are compiled or exported. The form takes up to twice the memory of the weights. Copies of the
        model are not fused. If the weights change afterwards, the next call raises an error; a write to the `.data` of
        single parameters may not be detected.

        Example:
            >>> from hf_audio_vae import WaveformVAE
            >>> model = WaveformVAE(8, (2, 5), (1, 2), 8, 4, audio_channels=1, sampling_rate=16000).eval()
            >>> latents = torch.randn(1, 4, 100)
            >>> with torch.no_grad():
            ...     plain = model.decode(latents).sample
            ...     model.fuse()
            ...     fused = model.decode(latents).sample
            >>> bool((fused - plain).abs().max() < 1e-5 * plain.abs().max())
            True
            >>> model.unfuse()
        """
        self.coder = FusedCoder(self.coder.layers, fused(self.networks))

    def unfuse(self) -> None:
        """Run the layers themselves again, and free the fused form."""
        self.coder = self.coder.layers

    def graph_parts(self) -> dict[str, GraphPart]:
        """Return the exported encoders and decoders, from tensors to tensors, by file name.

        Raises:
            ValueError: A layer cannot be exported.
        """
        return code_parts(self)

    def graph_metadata(self) -> dict[str, object]:
        """Return the metadata of all parts, except rates, channels and lengths, as JSON values."""
        return {"codebook_sizes": self.codebook_sizes}

    def use_plain_coder(self) -> None:
        """Run the layers on whole batches of whole signals, without chunks, kernels or slices."""
        self.coder = self.new_coder()

    def freeze_statistics(self) -> None:
        """Keep codebooks and the statistics of batch norms as they are, also in training mode."""
        self.statistics_are_frozen = True
        self.train(self.training)

    def train(self, mode: bool = True) -> Self:
        """Set training or evaluation mode; codebooks and batch norms learn in training mode unless they are frozen."""
        super().train(mode)
        if self.statistics_are_frozen:
            for module in self.modules():
                if isinstance(module, self.learning_by_statistics):
                    module.eval()
        return self

    def reset_statistics(self) -> None:
        """Remove the statistics of the latents, which other weights do not have."""

    def save_published(self, folder: Path) -> None:
        """Write the folder that `from_pretrained` reads, with all files of the model in its library.

        A model that was read from a folder of another class is written as one of that class.
        """
        if self.published_format is None:
            self.save_pretrained(folder)
        else:
            self.published_format.save(self, folder)

    @classmethod
    def register(cls) -> None:
        """Register the class with the `Auto` classes of its library, if it has such classes."""

    @classmethod
    def load(
        cls,
        name: str,
        *,
        subfolder: str | None = None,
        revision: str | None = None,
        variant: str | None = None,
        dtype: torch.dtype | str | None = None,
    ) -> Self:
        """Load a model from a folder or a Hub id, in evaluation mode; in float32 if no `dtype` is given.

        Raises:
            ValueError: See `from_pretrained`.
            OSError: There is no such folder or repository.
        """
        dtype = torch.float32 if dtype is None else dtype
        location = {"subfolder": subfolder or "", "revision": revision or "main"}
        return cls.from_pretrained(name, variant=variant, dtype=dtype, **location)

    def _tiles(self, frames: int | None) -> Tiles:
        return Tiles(self.decodings, self.hop_length, self.frame_rate, frames)


def _as_list(value: object) -> object:
    """Return a list for a tuple, as JSON does."""
    return list(value) if isinstance(value, tuple) else value
