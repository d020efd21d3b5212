"""Models of other classes of diffusers and transformers, with the interface of this package."""

import copy
import inspect
from abc import abstractmethod
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, Self

import torch
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils.checkpoint import checkpoint
from transformers import PreTrainedConfig

from hf_audio_vae.files.fingerprints import DESCRIPTIVE
from hf_audio_vae.files.folders import filling
from hf_audio_vae.files.loading import load_checked
from hf_audio_vae.files.pretrained import read_file
from hf_audio_vae.models.autoencoder import AudioAutoencoderMixin
from hf_audio_vae.models.peers.copying import CopyableModule
from hf_audio_vae.models.peers.network import PeerDecoder, PeerEncoder, measured_hop_length
from hf_audio_vae.runtime.streaming import Streaming

PREPROCESSOR = "preprocessor_config.json"
LIBRARY_FIELDS = frozenset(inspect.signature(PreTrainedConfig).parameters) | {"_name_or_path"}


@dataclass
class PeerConfig:
    """Values that every model has in its configuration; statistics are not saved, as the original has no such values.

    Args:
        sampling_rate (`int`): Samples per second, in Hz.
        audio_channels (`int`): Channels of the waveform.
        latents_mean (`Sequence[float]`, *optional*): Mean of each latent channel over a data set.
        latents_std (`Sequence[float]`, *optional*): Standard deviation of each latent channel.
    """

    sampling_rate: int
    audio_channels: int
    latents_mean: Any = None
    latents_std: Any = None


class PeerAutoencoder(CopyableModule, AudioAutoencoderMixin):
    """A model of another class, `original`, which keeps its weights, their names and its own format.

    A subclass names the class and those of the networks of both directions, which are made of its modules.

    Args:
        original (`torch.nn.Module`): The model.

    Raises:
        ValueError: The model has only an encoder, or only a decoder.
    """

    original_class: ClassVar[Any]
    encoder_class: ClassVar[Any]  # a `PeerEncoder`, made of the original and the hop length
    decoder_class: ClassVar[Any]
    blocks: ClassVar[tuple[str, ...]]  # names of the classes of layers that gradient checkpointing recomputes
    weights_stem = "diffusion_pytorch_model"
    runs_on_meta: ClassVar[bool] = True  # the original reads no values of its tensors, such as those of masks
    original: nn.Module
    config: PeerConfig
    preprocessor: bytes | None = None  # content of the `preprocessor_config.json` that was loaded with the weights

    def __init__(self, original: nn.Module) -> None:
        super().__init__()
        _check_complete(original)
        self.original = original
        self.config = self.new_config()
        self._hop_length = self._measured_hop_length()
        # A tuple does not register the networks: their modules are those of the original, under other names.
        self._networks: tuple[PeerEncoder, PeerDecoder] = (
            self.encoder_class(original, self._hop_length),
            self.decoder_class(original, self._hop_length),
        )
        self.coder = self.new_coder()

    @abstractmethod
    def new_config(self) -> PeerConfig:
        """Return the values of the original's configuration by this package's names."""

    @property
    def hop_length(self) -> int:
        """Samples per frame."""
        return self._hop_length

    @property
    def encoder(self) -> PeerEncoder:
        """Network from a waveform to frames."""
        return self._networks[0]

    @property
    def decoder(self) -> PeerDecoder:
        """Network from frames to a waveform."""
        return self._networks[1]

    def _measured_hop_length(self) -> int:
        """Return the samples that a frame adds in a copy without values; configurations may be wrong."""
        original: Any = self.original
        # Fake tensors have the values of constants, but take longer.
        without_values = torch.device("meta") if self.runs_on_meta else FakeTensorMode()
        with without_values, torch.device("meta" if self.runs_on_meta else "cpu"):
            if self.library_name == "diffusers":
                duplicate = type(original).from_config(original.config)
            else:
                duplicate = type(original)(_in_float32(original.config))
            return measured_hop_length(self.decoder_class(duplicate, 1))

    @property
    def device(self) -> torch.device:
        """Device of the weights."""
        return next(self.original.parameters()).device

    @property
    def dtype(self) -> torch.dtype:
        """Dtype of the weights."""
        return next(self.original.parameters()).dtype

    @classmethod
    def family_name(cls) -> str:
        """Name of the original's class."""
        return cls.original_class.__name__

    @property
    def published_class(self) -> type:
        """The original class."""
        return self.original_class

    @property
    def published_module(self) -> nn.Module:
        """The original."""
        return self.original

    @classmethod
    def argument_defaults(cls) -> dict[str, object]:
        """Return the arguments of the original, or of its configuration, with their defaults."""
        constructor: Callable[..., object] = getattr(cls.original_class, "config_class", None) or cls.original_class
        parameters = inspect.signature(constructor).parameters.items()
        values = {name: value.default for name, value in parameters if value.kind is not value.VAR_KEYWORD}
        return _without_library_fields(values) if cls.library_name == "transformers" else values

    @classmethod
    def from_arguments(cls, arguments: Mapping[str, Any]) -> Self:
        """Make a model with random weights from the arguments of the original, or of its configuration."""
        config_class = getattr(cls.original_class, "config_class", None)
        if config_class is None:
            return cls(cls.original_class(**arguments))
        return cls(cls.original_class(config_class(**arguments)))

    def function_config(self) -> dict[str, object]:
        """Return the values of the original's configuration that define encoding and decoding."""
        values = dict(self._original_config())
        names = set(self.argument_names()) - self.descriptive_arguments - DESCRIPTIVE
        return {key: value for key, value in values.items() if key in names}

    def arguments(self) -> dict[str, object]:
        """As `AudioAutoencoderMixin`, of the original."""
        values = self._original_config()
        return {name: values[name] for name in self.argument_names() if name in values}

    def _original_config(self) -> Mapping[str, object]:
        config: Any = self.original.config
        return config if isinstance(config, Mapping) else _without_library_fields(config.to_dict())

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
        """As `AudioAutoencoderMixin`."""
        options: dict[str, Any] = {"subfolder": subfolder or "", "revision": revision, "variant": variant}
        options["torch_dtype" if cls.library_name == "diffusers" else "dtype"] = dtype or torch.float32
        given = {key: value for key, value in options.items() if value is not None}
        model = cls(load_checked(cls.original_class, name, **given))
        if cls.library_name == "transformers":
            model.preprocessor = read_file(name, PREPROCESSOR, subfolder=subfolder, revision=revision)
        return model.eval()

    @classmethod
    def from_pretrained(cls, pretrained_model_name_or_path: Any, **options: Any) -> Any:
        """As `load`."""
        return cls.load(str(pretrained_model_name_or_path), **options)

    def save_pretrained(self, save_directory: str | Path, **options: Any) -> None:
        """Write the folder of the original class, with its own `save_pretrained`, and its preprocessor if it had one.

        Args:
            save_directory (`str` or `Path`): Folder, created if missing.
            options: Those of the original's method.
        """
        folder = Path(save_directory)
        with filling(folder, last=f"{self.weights_stem}.safetensors.index.json") as hidden:
            original: Any = self.original
            original.save_pretrained(hidden, **options)
            if self.preprocessor is not None:
                (hidden / PREPROCESSOR).write_bytes(self.preprocessor)

    def register_to_config(self, **values: object) -> None:
        """Set statistics of the latents, also in the configuration of the original if it has them."""
        for name, value in values.items():
            setattr(self.config, name, value)
        if known := {name: value for name, value in values.items() if name in self.argument_names()}:
            original: Any = self.original
            original.register_to_config(**known)

    def streaming(self, *_: Any, **__: Any) -> Streaming[Any]:
        """Raise `ValueError`: the layers of other libraries have no streaming form."""
        raise ValueError(
            f"{self.family_name()} has no streaming form, since its layers keep no state between pieces; encode or "
            f"decode the signal as a whole."
        )

    def spanned_modules(self) -> Iterable[nn.Module]:
        """Return encoder and decoder, which are not registered."""
        return self.networks

    def enable_gradient_checkpointing(self) -> None:
        """Recompute the blocks of the original in the backward pass."""
        for module in self.original.modules():
            if type(module).__name__ in self.blocks and "forward" not in vars(module):
                module.forward = partial(_recomputed, type(module).forward, module)


def _without_library_fields(values: Mapping[str, Any]) -> dict[str, Any]:
    """Leave out what every configuration of transformers has, such as the version, also in those of parts."""
    return {
        key: _without_library_fields(value) if isinstance(value, Mapping) else value
        for key, value in values.items()
        if key not in LIBRARY_FIELDS
    }


def _in_float32(config: PreTrainedConfig) -> PreTrainedConfig:
    """Return a copy for a model in float32; its parts may have been saved in half precision."""
    duplicate = copy.deepcopy(config)
    for part in (duplicate, *vars(duplicate).values()):
        if isinstance(part, PreTrainedConfig):
            part.dtype = torch.float32
    return duplicate


def _check_complete(original: nn.Module) -> None:
    """Raise `ValueError` if the encoder or the decoder of a model was left out."""
    for part in ("encoder", "decoder"):
        if getattr(original, part, original) is None:
            raise ValueError(
                f"the {type(original).__name__} has no {part}; load weights that hold both directions, with a "
                f"configuration that does not leave the {part} out."
            )


def _recomputed(forward: Callable[..., Any], module: nn.Module, *inputs: Any, **options: Any) -> Any:
    """Run a block; keep no activations for its gradient."""
    if not torch.is_grad_enabled():
        return forward(module, *inputs, **options)
    return checkpoint(forward, module, *inputs, use_reentrant=False, **options)
