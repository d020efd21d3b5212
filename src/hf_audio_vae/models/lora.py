"""Adapters of autoencoders: low-rank updates of the weights of layers, saved in the format of peft.

The layers of peft are not used: its update of a convolution ignores the dilation, it has no update of a transposed
convolution, and it cannot merge into a weight with weight norm.
"""

import json
import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Self

import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor, nn

from hf_audio_vae.files import filling
from hf_audio_vae.files.pretrained import read_file
from hf_audio_vae.files.weights import first_names, on_one_line
from hf_audio_vae.models.autoencoder import AudioAutoencoderMixin
from hf_audio_vae.models.fingerprint import weights_fingerprint
from hf_audio_vae.modules.low_rank import ADAPTABLE, LowRank, register_update, set_weight, weight_of

ADAPTER_CONFIG = "adapter_config.json"
ADAPTER_WEIGHTS = "adapter_model.safetensors"
PREFIX = "base_model.model."  # of the names of layers in the weights
FACTORS = ("lora_A", "lora_B")
# Options of peft that are read here, or that change only the training of an adapter.
READ = frozenset(("peft_type", "r", "lora_alpha", "base_model_name_or_path", "revision", "auto_mapping"))
SELECTION = frozenset(("target_modules", "exclude_modules", "layers_to_transform", "layers_pattern"))
OF_TRAINING = SELECTION | {"task_type", "peft_version", "inference_mode", "lora_dropout", "init_lora_weights"}


@dataclass(frozen=True)
class BaseLocation:
    """Location of the model that an adapter changes.

    Args:
        name (`str`): Folder or Hub id.
        subfolder (`str`, *optional*): Subfolder of the model.
        revision (`str`, *optional*): Revision of a Hub model.
    """

    name: str
    subfolder: str | None = None
    revision: str | None = None


class LoraAdapter(nn.Module):
    """Low-rank updates of layers of a model, by the names of the layers in the saved files of the model.

    Args:
        config (`peft.LoraConfig`): Configuration to save. Its rank and alpha hold for all updates.
        updates (`Mapping[str, LowRank]`): Update of each layer, by the name of the layer.
    """

    def __init__(self, config: Any, updates: Mapping[str, LowRank]) -> None:
        super().__init__()
        self.config = config
        self.names = tuple(sorted(updates))
        modules = nn.ModuleList(updates[name] for name in self.names)
        self.updates: Sequence[LowRank] = modules  # type: ignore[assignment]  # a list of them

    @classmethod
    def new(
        cls,
        model: AudioAutoencoderMixin,
        base: BaseLocation,
        *,
        rank: int,
        alpha: int | None = None,
        target_modules: Collection[str] | str | None = None,
    ) -> Self:
        """Make an adapter whose updates are 0.

        Args:
            model (`AudioAutoencoderMixin`): Model to adapt. Its frozen layers are not adapted.
            base (`BaseLocation`): Location that the model was loaded from.
            rank (`int`): Rank of each update.
            alpha (`int`, *optional*): Updates are scaled by `alpha / rank`, or by 1 without `alpha`.
            target_modules (`Collection[str]` or `str`, *optional*): Layers to adapt, as in peft: ends of the names of
                layers, or a regular expression of whole names. By default, all layers whose weight has more values
                than its update.

        Raises:
            ValueError: peft is not installed, or no layer is adapted.
        """
        alpha = rank if alpha is None else alpha
        layers = dict(model.published_module.named_modules())
        names = [name for name, layer in layers.items() if _is_adaptable(layer)]
        if target_modules is None:
            names = [name for name in names if _saves(weight_of(layers[name]), rank)]
        else:
            names = _targeted(names, target_modules)
        if not names:
            chosen = (
                f"is one of `target_modules` {target_modules}" if target_modules else f"is larger than rank {rank}"
            )
            raise ValueError(f"no layer of the {type(model.published_module).__name__} that can be adapted {chosen}.")
        config = peft_library().LoraConfig(
            r=rank,
            lora_alpha=alpha,
            target_modules=sorted(names),
            base_model_name_or_path=base.name,
            revision=base.revision,
            auto_mapping={
                "base_model_class": type(model.published_module).__name__,
                "parent_library": type(model.published_module).__module__,
                "subfolder": base.subfolder,
                "base_weights": layers_fingerprint([layers[name] for name in sorted(names)]),
            },
        )
        shapes = {name: tuple(weight_of(layers[name]).shape) for name in names}
        updates = {name: LowRank(shape, rank, alpha / rank) for name, shape in shapes.items()}
        return cls(config, updates).to(model.device)

    @property
    def base(self) -> BaseLocation | None:
        """Location of the model that the adapter was trained on. Adapters of peft for diffusers models have none."""
        name, mapping = self.config.base_model_name_or_path, self.config.auto_mapping or {}
        return BaseLocation(name, mapping.get("subfolder"), self.config.revision) if name else None

    def was_trained_on(self, model: AudioAutoencoderMixin) -> bool:
        """Return whether the layers of a float32 model have the weights of the base; True if none are recorded."""
        recorded = (self.config.auto_mapping or {}).get("base_weights")
        return recorded is None or recorded == layers_fingerprint(self._layers_of(model))

    def attach(self, model: AudioAutoencoderMixin) -> None:
        """Add the trainable updates to the layers of a model. Weights, codebooks and statistics are frozen."""
        layers = self._layers_of(model)
        model.requires_grad_(False)
        model.freeze_statistics()
        for layer, update in zip(layers, self.updates, strict=True):
            register_update(layer, update)

    @torch.no_grad()
    def merge_into(self, model: AudioAutoencoderMixin) -> None:
        """Add the updates to the weights of a model in place. If the encoder changes, the statistics are removed.

        Raises:
            ValueError: The model lacks an adapted layer, or the layer has another shape.
        """
        layers = self._layers_of(model)
        decoding = {module for coding in model.decodings() for module in coding.network.modules()}
        for layer, update in zip(layers, self.updates, strict=True):
            set_weight(layer, update(weight_of(layer)))
        if not decoding.issuperset(layers):
            model.reset_statistics()

    def _layers_of(self, model: AudioAutoencoderMixin) -> list[nn.Module]:
        layers = dict(model.published_module.named_modules())
        wrong = [
            name
            for name, update in zip(self.names, self.updates, strict=True)
            if not isinstance(layers.get(name), ADAPTABLE) or tuple(weight_of(layers[name]).shape) != update.shape
        ]
        if wrong:
            raise ValueError(
                f"the adapter changes {first_names(wrong)}, which a {type(model.published_module).__name__} of this "
                f"size does not have; give the model that the adapter was trained on."
            )
        return [layers[name] for name in self.names]

    def save_pretrained(self, save_directory: str | Path) -> None:
        """Write `adapter_config.json` and `adapter_model.safetensors` in the format of peft."""
        tensors = {
            f"{PREFIX}{name}.{factor}.weight": getattr(update, factor).detach().contiguous()
            for name, update in zip(self.names, self.updates, strict=True)
            for factor in FACTORS
        }
        with filling(Path(save_directory), last=ADAPTER_CONFIG) as hidden:
            self.config.save_pretrained(hidden)
            safetensors.torch.save_file(tensors, hidden / ADAPTER_WEIGHTS, metadata={"format": "pt"})

    @classmethod
    def from_pretrained(cls, name: str | Path, *, subfolder: str | None = None, revision: str | None = None) -> Self:
        """Read a folder or a Hub repository of an adapter.

        Raises:
            ValueError: A file is damaged, peft is not installed, or the adapter is of another kind.
            OSError: There is no such folder, or it holds no adapter.
        """
        location = {"subfolder": subfolder, "revision": revision}
        content = read_file(str(name), ADAPTER_CONFIG, **location)
        weights = read_file(str(name), ADAPTER_WEIGHTS, **location)
        missing = [file for file, found in ((ADAPTER_CONFIG, content), (ADAPTER_WEIGHTS, weights)) if found is None]
        if content is None or weights is None:
            raise OSError(f"{name} holds no {' and no '.join(missing)}; name the folder of an adapter.")
        try:
            config, tensors = _read_config(content), safetensors.torch.load(weights)
            updates = _read_updates(config, tensors)
            _check_targets(json.loads(content), updates)
            return cls(config, updates)
        except (SafetensorError, ValueError, TypeError, RecursionError) as error:
            raise ValueError(f"the adapter {name} cannot be read: {on_one_line(error)}") from error


def is_adapter(name: str, *, subfolder: str | None = None, revision: str | None = None) -> bool:
    """Return whether a folder or a Hub repository has an adapter in the format of peft; False if it does not exist."""
    try:
        return read_file(name, ADAPTER_CONFIG, subfolder=subfolder, revision=revision) is not None
    except (OSError, ValueError):  # of the Hub: no connection, or no such name
        return False


def layers_fingerprint(layers: Iterable[nn.Module]) -> str:
    """Return the SHA-256 of the weights of layers, which depends on their order."""
    return weights_fingerprint(nn.ModuleList(layers))


def peft_library() -> Any:
    """Import and return peft, an optional dependency. Raises `ValueError` if it is not installed."""
    try:
        import peft
    except ModuleNotFoundError as error:
        raise ValueError("adapters need peft; install it with `pip install 'hf-audio-vae[lora]'`.") from error
    return peft


def _is_adaptable(layer: nn.Module) -> bool:
    """Return whether a layer has a supported type, trainable parameters and no groups."""
    trains = any(parameter.requires_grad for parameter in layer.parameters())
    return isinstance(layer, ADAPTABLE) and trains and getattr(layer, "groups", 1) == 1


def _saves(weight: Tensor, rank: int) -> bool:
    """Return whether the factors of an update have fewer values than the weight."""
    return rank * (len(weight) + weight[0].numel()) < weight.numel()


def _targeted(names: Iterable[str], target_modules: Collection[str] | str) -> list[str]:
    peft = peft_library()
    config = peft.LoraConfig(target_modules=target_modules)
    return [name for name in names if peft.tuners.tuners_utils.check_target_module_exists(config, name)]


def _read_config(content: bytes) -> Any:
    """Return the configuration of a plain LoRA adapter. Raises `ValueError` for other options of peft."""
    values = json.loads(content)
    if not isinstance(values, dict) or values.get("peft_type") != "LORA":
        raise ValueError(f"its {ADAPTER_CONFIG} describes no LoRA.")
    library = peft_library()
    defaults = {field.name: getattr(library.LoraConfig(), field.name) for field in fields(library.LoraConfig)}
    others = {key for key in values if key not in READ | OF_TRAINING and values[key] not in (None, defaults.get(key))}
    if others:
        raise ValueError(f"it uses {first_names(sorted(others))}, which is not supported; merge it with peft.")
    config = library.LoraConfig(**{key: values[key] for key in READ & values.keys() - {"peft_type"}})
    config.target_modules = values.get("target_modules")
    _check_values(config)
    return config


def _check_values(config: Any) -> None:
    """Raise `ValueError` for values that peft does not check."""
    if not isinstance(config.r, int) or config.r < 1:
        raise ValueError(f"its rank `r` is {config.r!r}; it must be a whole number above 0.")
    if not isinstance(config.lora_alpha, int | float) or not 0 < config.lora_alpha < math.inf:
        raise ValueError(f"its `lora_alpha` is {config.lora_alpha!r}; it must be a number above 0.")
    kinds = {"auto_mapping": dict, "base_model_name_or_path": str, "revision": str}
    for name, kind in kinds.items():
        if not isinstance(value := getattr(config, name), kind | None):
            raise ValueError(f"its `{name}` is {value!r}, no {'object' if kind is dict else 'text'}.")


def _check_targets(values: Mapping[str, Any], names: Iterable[str]) -> None:
    """Raise `ValueError` if there are weights of layers that the configuration does not name.

    An adapter of this package names each of its layers, so that the weights of none may be missing. Other adapters may
    name layers that their model does not have.
    """
    targets = values.get("target_modules")
    if not targets or targets == "all-linear":
        return
    names = set(names)
    config = peft_library().LoraConfig(**{key: values[key] for key in SELECTION & values.keys()})
    exists = peft_library().tuners.tuners_utils.check_target_module_exists
    if others := {name for name in names if not exists(config, name)}:
        raise ValueError(
            f"it has weights of {first_names(sorted(others))}, which its `target_modules` leave out; use an intact "
            f"copy."
        )
    recorded = (values.get("auto_mapping") or {}).get("base_weights")
    if recorded is None or not isinstance(targets, list):
        return
    # peft shortens names to their ends when it saves an adapter again.
    if missing := [target for target in targets if not any(f".{name}".endswith(f".{target}") for name in names)]:
        raise ValueError(
            f"its `target_modules` name {first_names(sorted(missing))}, which it has no weights of; use an intact "
            f"copy."
        )


def _read_updates(config: Any, tensors: Mapping[str, Tensor]) -> dict[str, LowRank]:
    """Return the update of each layer. Raises `ValueError` if the tensors are not pairs of factors."""
    layers = {key.removeprefix(PREFIX).rpartition(".lora_")[0] for key in tensors}
    expected = {f"{PREFIX}{name}.{factor}.weight" for name in layers for factor in FACTORS}
    if not layers or expected != tensors.keys():
        raise ValueError(f"its weights are not pairs of factors: {first_names(sorted(expected ^ tensors.keys()))}.")
    updates = {}
    for name in layers:
        factors = {factor: tensors[f"{PREFIX}{name}.{factor}.weight"].float() for factor in FACTORS}
        shape = (len(factors["lora_B"]), *factors["lora_A"].shape[1:])
        updates[name] = LowRank(shape, config.r, config.lora_alpha / config.r)
        try:
            updates[name].load_state_dict(factors)
        except RuntimeError as error:
            raise ValueError(f"the factors of {name} do not have rank {config.r}: {on_one_line(error)}") from error
    return updates
