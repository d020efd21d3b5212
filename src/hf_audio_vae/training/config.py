"""Recipes: one complete YAML file per model. The command line can override every value.

train_autoencoder.py --config training/recipes/stft-vae-demo.yaml --learning_rate 3e-4 --model.causal true
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Protocol, TypeVar, get_args

from huggingface_hub.errors import HFValidationError
from huggingface_hub.utils import validate_repo_id
from pydantic import BaseModel, BeforeValidator, Field, ValidationError
from pydantic.fields import FieldInfo

from hf_audio_vae.files import listing_checksum
from hf_audio_vae.training.sections import Changeable, MayChange, Section
from hf_audio_vae.training.weights import NUMBER
from hf_audio_vae.training.yaml_files import parse_yaml, read_options

SCHEDULES = ("constant", "constant_with_warmup", "linear", "cosine", "cosine_with_restarts", "polynomial")
LOCATIONS = ("dataset_name", "data_files", "_name_or_path")  # ends of the names of options that name files
SYNONYMS = {  # names of options in other programs, and those of recipes, the first that a recipe has
    **dict.fromkeys(("kl_weight", "weight_kl", "kl", "beta"), ("weights.kl", "kl_weight")),
    **dict.fromkeys(
        ("gradient_clip", "gradient_clipping", "gradient_clip_val", "grad_clip", "clip_grad", "clip_grad_norm"),
        ("max_grad_norm",),
    ),
    **dict.fromkeys(("batch_size", "per_device_train_batch_size"), ("train_batch_size",)),
    "lr": ("learning_rate",),
    **dict.fromkeys(
        ("steps", "max_steps", "num_steps", "epochs", "max_epochs", "num_epochs", "num_train_epochs"),
        ("max_train_steps",),
    ),
    "warmup_steps": ("lr_warmup_steps",),
    "weight_decay": ("adam_weight_decay",),
    "num_workers": ("dataloader_num_workers",),
    "resume": ("resume_from_checkpoint",),
}
ConfigT = TypeVar("ConfigT", bound=BaseModel)
_MISSING = object()


def _no_as_text(value: object) -> object:
    """Return "no" for false, because YAML reads a bare `no` as false."""
    return "no" if value is False else value


def _known_schedule(value: object) -> object:
    """Reject the schedules of diffusers that need arguments without an option."""
    if value not in SCHEDULES:
        reason = "needs `step_rules`, which no option gives" if value == "piecewise_constant" else "is unknown"
        raise ValueError(f"{value} {reason}; use one of {', '.join(SCHEDULES)}")
    return value


def _repository_name(value: object) -> object:
    """Reject what is no name of a repository; it is also the title of the card."""
    if value is not None:
        try:
            validate_repo_id(str(value))
        except HFValidationError as error:
            raise ValueError(f"{value} is no id of the Hub; give `owner/name`") from error
    return value


class TrainingConfig(Section):
    """Options of every training run."""

    output_dir: Changeable[Path] = Field(description="folder for checkpoints, logs and the final model")
    seed: int = Field(0, ge=0, lt=2**32)

    dataset_name: str = Field(description="Hub id, or a folder")
    dataset_split: str = "train"
    dataset_revision: str | None = None
    max_train_samples: int | None = Field(None, ge=1, description="use only the first items, up to this number")
    segment_seconds: float = Field(gt=0, le=3600, description="length of a crop")
    shuffle_buffer_size: int = Field(100, ge=1, description="items in the shuffle buffer; 1 keeps the order")
    max_bad_share: Changeable[float] = Field(0.1, ge=0, le=1, description="stop if a larger share cannot be read")
    dataloader_num_workers: Changeable[int] = Field(2, ge=0, le=256)

    validation_dataset_name: str
    validation_dataset_split: str = "train"
    max_validation_samples: Changeable[int] = Field(16, ge=1)
    validation_steps: Changeable[int] = Field(1000, ge=1, description="steps between validations")
    best_metric: Changeable[str | None] = Field(
        None, description="keep the averaged model of the best validation by this metric in `best/`, as `mel_distance`"
    )

    train_batch_size: int = Field(8, ge=1, le=65536, description="crops per batch in each process")
    gradient_accumulation_steps: int = Field(1, ge=1, le=65536)
    gradient_checkpointing: bool = False
    mixed_precision: Annotated[Literal["no", "fp16", "bf16"], BeforeValidator(_no_as_text)] = "no"
    allow_tf32: Changeable[bool] = Field(
        True, description="use TF32 for float32 products on a GPU: faster, 10 bits of mantissa"
    )
    max_train_steps: Changeable[int] = Field(ge=1)
    max_train_minutes: Changeable[float | None] = Field(None, gt=0, description="stop after this time")
    learning_rate: float = Field(1e-4, gt=0)
    lr_scheduler: Annotated[str, BeforeValidator(_known_schedule)] = Field(
        "constant_with_warmup", description=f"one of {', '.join(SCHEDULES)}"
    )
    lr_warmup_steps: int = Field(0, ge=0)
    adam_beta1: float = Field(0.8, ge=0, lt=1)
    adam_beta2: float = Field(0.99, ge=0, lt=1)
    adam_weight_decay: float = Field(0.0, ge=0)
    max_grad_norm: float = Field(1.0, gt=0)
    max_skipped_steps: Changeable[int] = Field(
        10, ge=1, description="stop after this many consecutive steps without a finite loss"
    )
    ema_decay: float = Field(0.999, ge=0, lt=1, description="decay of the averaged weights; 0 disables the average")

    checkpointing_steps: Changeable[int] = Field(1000, ge=1, description="steps between checkpoints")
    checkpoints_total_limit: Changeable[int | None] = Field(
        3, ge=1, description="number of newest checkpoints to keep; null for all"
    )
    resume_from_checkpoint: Changeable[str | None] = Field(None, description="a checkpoint folder, or `latest`")
    logging_steps: Changeable[int] = Field(10, ge=1)
    report_to: Changeable[str] = Field("tensorboard", description="tensorboard, trackio, wandb, or none")
    accept_changes: Changeable[bool] = Field(
        False, description="resume although other options changed; keeps the weights and the optimiser state"
    )
    license: Changeable[str | None] = Field(None, description="license of the model for its card, as apache-2.0")
    push_to_hub: Changeable[bool] = False
    hub_model_id: Changeable[Annotated[str | None, BeforeValidator(_repository_name)]] = None
    hub_private_repo: Changeable[bool] = Field(False, description="make a new repository private")

    def lasting(self) -> dict[str, Any]:
        """Return the values that must not change when a run is resumed."""
        fields = type(self).model_fields.items()
        marked = {name for name, field in fields if MayChange in field.metadata or name.startswith("validation_")}
        return self.model_dump(mode="json", exclude=marked)

    def validation(self) -> dict[str, Any]:
        """Return the values that decide the figures of a validation."""
        names = {name for name in type(self).model_fields if name.startswith("validation_")} | {
            "max_validation_samples"
        }
        return self.model_dump(mode="json", include=names - {"validation_steps"})

    def contents(self) -> dict[str, str]:
        """Return a checksum of the content of each local data set and model, by the option that names it."""
        named = {**self.lasting(), **self.validation()}
        values = {name: getattr(self, name) for name in named if name.endswith(LOCATIONS)}
        return {name: checksum for name, value in values.items() if (checksum := listing_checksum(value))}

    def validates_on_training_data(self) -> bool:
        """Whether all options that name the validation data have the values of those that name the training data."""
        names = [name for name in type(self).model_fields if hasattr(self, f"validation_{name}")]
        names.remove("dataset_name")
        same_options = all(getattr(self, name) == getattr(self, f"validation_{name}") for name in names)
        return same_options and Path(self.dataset_name).resolve() == Path(self.validation_dataset_name).resolve()

    def ineffective_options(self) -> dict[str, str]:
        """Return options that have no effect in this recipe, each with the reason."""
        reasons: dict[str, str] = {}
        if self.lr_scheduler == "constant":
            reasons["lr_warmup_steps"] = "with `lr_scheduler` constant"
        if not self.push_to_hub:
            reasons["hub_private_repo"] = "without `push_to_hub`"
        if self.resume_from_checkpoint is None:
            reasons["accept_changes"] = "without `resume_from_checkpoint`"
        return reasons


class HasPretrained(Protocol):
    """A section that may name a pretrained model."""

    pretrained_model_name_or_path: str | None


def replaced_by_pretrained(section: HasPretrained, *replaced: str, prefix: str = "") -> dict[str, str]:
    """Return options that a pretrained model replaces, or that only apply to one, with the reason."""
    option = f"`{prefix}pretrained_model_name_or_path`"
    if section.pretrained_model_name_or_path is None:
        return dict.fromkeys(("pretrained_subfolder", "pretrained_revision"), f"without {option}")
    kept = "whose `config.json` describes the network: losses, weights and the training can be changed"
    return dict.fromkeys(replaced, f"with {option}, {kept}")


def parse_config(config_class: type[ConfigT], argv: Sequence[str]) -> ConfigT:
    """Read `--config FILE`, then apply `--key value` and `--section.key value` in order.

    Args:
        config_class (`type[pydantic.BaseModel]`): Class of the configuration.
        argv (`Sequence[str]`): Arguments without the program. `--flag` alone means true. Values are read as
            YAML, names and paths as they are.

    Returns:
        An instance of `config_class`.

    Raises:
        ValueError: Values are missing, unknown or of the wrong type, and the message names all of them; or an option
            is given twice.
        SystemExit: `--help` was given.
    """
    values: dict[str, Any] = {}
    pairs = _pairs(argv)
    keys = [key for key, _ in pairs]
    if repeated := [key for key in dict.fromkeys(keys) if keys.count(key) > 1]:
        raise ValueError(f"`--{repeated[0]}` is given twice; give it once.")
    for key, text in sorted(pairs, key=lambda pair: pair[0] != "config"):
        if key == "help":
            continue
        if key == "config":
            values = _merge(values, _read_recipe(Path(text)))
        else:
            values = _override(values, key.split("."), _value(config_class, key, text))
    if "help" in keys:
        _print_help(config_class, values)
        raise SystemExit(0)
    try:
        config = config_class.model_validate(values)
    except ValidationError as error:
        names = [name for name, _ in flat_fields(config_class)]
        lines = "\n".join(_error_line(found, names) for found in error.errors())
        raise ValueError(f"the configuration is invalid:\n{lines}") from None
    if isinstance(config, TrainingConfig):
        _check_effect(keys, config.ineffective_options())
    return config


def _check_effect(given: Sequence[str], reasons: Mapping[str, str]) -> None:
    """Raise `ValueError` if an option of the command line has no effect. A recipe file may have such options."""
    for key in given:
        for name, reason in reasons.items():
            if key == name or key.startswith(f"{name}."):
                raise ValueError(f"`--{key}` has no effect {reason}; leave it out.")


def _error_line(error: Mapping[str, Any], names: Sequence[str]) -> str:
    """Return one line for an error. Errors of the whole recipe, also of a value that it lacks, do not repeat it."""
    key, of_recipe = ".".join(map(str, error["loc"])), len(error["loc"]) == (error["type"] == "missing")
    key = key.removesuffix(f".{NUMBER}")  # the kind of a weight, which is no part of its name
    got = "" if of_recipe else f", got {error['input']!r}"
    if error["type"] == "extra_forbidden":
        got += _suggestion(key, names)
    if error["type"] == "missing" and key == "validation_dataset_name" and "held_out_share" in names:
        got += "; give it, or `held_out_share` to validate on a share of the data"
    return f"  {key}: {error['msg']}{got}" if key else f"  {error['msg']}{got}"


def _suggestion(key: str, names: Sequence[str]) -> str:
    """Return what an unknown option may mean; for one of a section, also the options of that section."""
    section, dot, leaf = key.rpartition(".")
    known = [name.removeprefix(section + dot) for name in names if name.startswith(section + dot)]
    known = [name for name in known if "." not in name] if section else list(names)
    first = [name for name in SYNONYMS.get(leaf, ()) if name.split(".")[0] in known]
    ends = [name for name in known if leaf in re.split(r"[._]", name) or name.endswith(f".{leaf}")]
    alike = (first or get_close_matches(leaf, known, 1) or ends)[:1]
    text = f"; did you mean `{section}{dot}{alike[0]}`?" if alike else ""
    return text + (f"{'' if alike else ';'} `{section}` has {', '.join(known)}" if section and known else "")


def _pairs(argv: Sequence[str]) -> list[tuple[str, str]]:
    pairs: list[tuple[str, str]] = []
    arguments = list(argv)
    while arguments:
        name = arguments.pop(0)
        if not name.startswith("--"):
            raise ValueError(f"{name!r} is not an option; options have the form `--key value`.")
        key, equals, text = name.removeprefix("--").partition("=")
        if not equals:
            is_flag = not arguments or arguments[0].startswith("--")
            text = "true" if is_flag else arguments.pop(0)
        pairs.append((key, text))
    return pairs


def _value(config_class: type[BaseModel], key: str, text: str) -> Any:
    """Read a value as YAML, but a name or a path as it is: `#`, quotes and brackets belong to it."""
    field = dict(flat_fields(config_class)).get(key)
    kinds = _members(field.annotation) if field else set()
    if not kinds & {str, Path} or text.lower() in ("null", "~") or (not text and NoneType in kinds):
        return parse_yaml(text, f"`--{key} {text}`")
    try:
        value = parse_yaml(text, key) if list[str] in kinds else text
    except ValueError:
        return text
    return value if isinstance(value, list) else text


def _members(annotation: Any) -> set[Any]:
    """Return the types of a union, or the only type: `dict[str, int]` has arguments, but is no union."""
    return set(get_args(annotation)) if isinstance(annotation, UnionType) else {annotation}


def _read_recipe(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise ValueError(f"`--config` names {path}, which is not a file.")
    return read_options(path)


def _override(values: dict[str, Any], keys: list[str], value: Any) -> dict[str, Any]:
    """Replace one value of any type and keep all others."""
    if len(keys) > 1:
        inner = values.get(keys[0])
        value = _override(inner if isinstance(inner, dict) else {}, keys[1:], value)
    return values | {keys[0]: value}


def _merge(values: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    merged = dict(values)
    for key, change in changes.items():
        old = merged.get(key)
        merged[key] = _merge(old, change) if isinstance(old, dict) and isinstance(change, dict) else change
    return merged


def _print_help(config_class: type[BaseModel], values: Mapping[str, Any]) -> None:
    """Print all options with their values in the recipe, or their defaults."""
    print("options: any of these as `--key value`, after the recipe; omitted sections are not used:")
    for name, field in flat_fields(config_class):
        default = "required" if field.is_required() else f"default {field.get_default(call_default_factory=True)}"
        section: Any = values
        for key in name.split("."):
            section = section.get(key, _MISSING) if isinstance(section, dict) else _MISSING
        default = default if section is _MISSING or isinstance(section, dict) else f"recipe {section}"
        print(f"  --{name:32} {field.description or ''} ({default})")


def flat_fields(section: type[BaseModel], prefix: str = "") -> Iterator[tuple[str, FieldInfo]]:
    """Yield the options of a section and of its nested sections with their full names."""
    for name, field in section.model_fields.items():
        inner = [kind for kind in (field.annotation, *get_args(field.annotation)) if _is_section(kind)]
        yield prefix + name, field
        for kind in inner:
            yield from flat_fields(kind, f"{prefix}{name}.")


def _is_section(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, Section)
