"""Recipes: one complete YAML file a model, every value of which the command line can override.

train_autoencoder.py --config training/recipes/demo.yaml --learning_rate 3e-4 --model.causal true
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, Self, TypeVar

import yaml
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from hf_audio_vae.audio.distance import STFT_WINDOW_LENGTHS
from hf_audio_vae.losses import CosineAnnealing, CyclicalAnnealing, LinearAnnealing, Schedule
from hf_audio_vae.losses.spectral import MEL_WINDOW_LENGTHS, N_MELS

ConfigT = TypeVar("ConfigT", bound=BaseModel)


def _unread_no(value: object) -> object:
    """YAML reads a bare `no` as false."""
    return "no" if value is False else value


class Section(BaseModel):
    """A part of a recipe: unknown keys are an error, and `1e-4`, which YAML takes for text, is the number it means."""

    model_config = ConfigDict(extra="forbid", frozen=True, protected_namespaces=())


class STFTLossOptions(Section):
    """Options of `MultiResolutionSTFTLoss`."""

    window_lengths: tuple[int, ...] = STFT_WINDOW_LENGTHS
    mid_side: bool = False
    a_weighted: bool = False


class MelLossOptions(Section):
    """Options of `MultiScaleMelLoss`."""

    window_lengths: tuple[int, ...] = MEL_WINDOW_LENGTHS
    n_mels: tuple[int, ...] = N_MELS


class NoOptions(Section):
    """A loss without options: write `{}`."""


class LossOptions(Section):
    """Which reconstruction losses to compute; each one named here needs a weight."""

    waveform_l1: NoOptions | None = None
    waveform_mse: NoOptions | None = None
    multi_resolution_stft: STFTLossOptions | None = None
    multi_scale_mel: MelLossOptions | None = None


class AnnealedWeight(Section):
    """A weight that rises from 0 to `weight` in `steps`."""

    schedule: Literal["linear", "cosine", "cyclical"]
    weight: float
    steps: int

    def build(self) -> Schedule:
        """Return the schedule this describes."""
        schedules: dict[str, Callable[[float, int], Schedule]] = {
            "linear": LinearAnnealing,
            "cosine": CosineAnnealing,
            "cyclical": CyclicalAnnealing,
        }
        return schedules[self.schedule](self.weight, self.steps)


# What a resume may set anew: where and how long, and all that only watches.
MAY_CHANGE = {
    "output_dir",
    "max_train_steps",
    "max_train_minutes",
    "max_skipped_steps",
    "max_bad_share",
    "validation_steps",
    "num_validation_media",
    "checkpointing_steps",
    "checkpoints_total_limit",
    "resume_from_checkpoint",
    "logging_steps",
    "report_to",
    "push_to_hub",
    "hub_model_id",
}


class AutoencoderTrainingConfig(Section):
    """Everything a training run of an autoencoder is made from."""

    output_dir: Path = Field(description="where checkpoints, logs and the final model go")
    seed: int = 0

    family: str = Field("WaveformVAE", description="model class, a name from the registry")
    model: dict[str, Any] = Field(default_factory=dict, description="arguments of that class")
    pretrained_model_name_or_path: str | None = Field(None, description="fine-tune this model instead of a new one")
    pretrained_subfolder: str | None = Field(None, description="where in it the model is, `vae` in a pipeline")
    pretrained_revision: str | None = None

    dataset_name: str = Field(description="Hub id, or a folder of audio, parquet or tar files")
    dataset_config_name: str | None = None
    dataset_split: str = "train"
    dataset_revision: str | None = None
    data_files: str | list[str] | None = None
    audio_column: str | None = None
    max_train_samples: int | None = Field(None, description="use only the first so many items")
    segment_seconds: float = Field(gt=0, description="length of a crop")
    shuffle_buffer_size: int = Field(100, ge=1)
    max_bad_share: float = Field(0.1, ge=0, le=1, description="stop when more of the items cannot be decoded")
    dataloader_num_workers: int = Field(2, ge=0)

    validation_dataset_name: str
    validation_dataset_split: str = "train"
    validation_seconds: float = Field(10.0, gt=0, description="how much of each validation item is used")
    max_validation_samples: int = Field(16, ge=1)
    num_validation_media: int = Field(4, ge=0, description="items logged as sound and picture")
    validation_steps: int = Field(1000, ge=1)

    losses: LossOptions
    weights: dict[str, float | AnnealedWeight]

    train_batch_size: int = Field(8, ge=1, description="crops a batch in each process")
    gradient_accumulation_steps: int = Field(1, ge=1)
    gradient_checkpointing: bool = False
    mixed_precision: Annotated[Literal["no", "fp16", "bf16"], BeforeValidator(_unread_no)] = "no"
    max_train_steps: int = Field(ge=1)
    max_train_minutes: float | None = Field(None, gt=0)
    learning_rate: float = Field(1e-4, gt=0)
    lr_scheduler: str = Field("constant_with_warmup", description="a name that diffusers' get_scheduler knows")
    lr_warmup_steps: int = Field(0, ge=0)
    adam_beta1: float = 0.8
    adam_beta2: float = 0.99
    adam_weight_decay: float = 0.0
    max_grad_norm: float = Field(1.0, gt=0)
    max_skipped_steps: int = Field(10, ge=1, description="give up after so many steps in a row without a finite loss")
    ema_decay: float = Field(0.999, ge=0, lt=1, description="0 keeps no average")

    checkpointing_steps: int = Field(1000, ge=1)
    checkpoints_total_limit: int | None = Field(3, ge=1)
    resume_from_checkpoint: str | None = Field(None, description="a checkpoint folder, or `latest`")
    logging_steps: int = Field(10, ge=1)
    report_to: str = Field("tensorboard", description="tensorboard, trackio, wandb, or none")
    push_to_hub: bool = False
    hub_model_id: str | None = None

    @model_validator(mode="after")
    def _losses_have_weights(self) -> Self:
        without = sorted({name for name, options in self.losses if options is not None} - self.weights.keys())
        if without:
            raise ValueError(f"the losses {without} have no entry in `weights`; a weight of 0 leaves one out")
        return self

    def lasting(self) -> dict[str, Any]:
        """What a resumed run must have in common with the one it goes on with."""
        return self.model_dump(mode="json", exclude=MAY_CHANGE)

    def build_weights(self) -> dict[str, float | Schedule]:
        """Return the loss weights as numbers and schedules."""
        return {name: w.build() if isinstance(w, AnnealedWeight) else w for name, w in self.weights.items()}


def parse_config(config_class: type[ConfigT], argv: Sequence[str]) -> ConfigT:
    """Read `--config FILE` and apply `--key value` and `--section.key value` in order.

    Args:
        config_class (`type[pydantic.BaseModel]`): What to make.
        argv (`Sequence[str]`): Arguments, without the program. `--flag` alone means true; values are read as YAML.

    Returns:
        An instance of `config_class`.

    Raises:
        ValueError: A value is missing, unknown or of the wrong type; all of them are named.
        SystemExit: `--help` was asked for.
    """
    values: dict[str, Any] = {}
    for key, text in _pairs(argv):
        if key == "help":
            _print_help(config_class)
            raise SystemExit(0)
        if key == "config":
            values = _merge(values, _read_yaml(Path(text)))
        else:
            values = _override(values, key.split("."), yaml.safe_load(text))
    try:
        return config_class.model_validate(values)
    except ValidationError as error:
        lines = [f"  {'.'.join(map(str, e['loc']))}: {e['msg']}, got {e['input']!r}" for e in error.errors()]
        raise ValueError("the configuration is wrong:\n" + "\n".join(lines)) from None


def _pairs(argv: Sequence[str]) -> list[tuple[str, str]]:
    pairs: list[tuple[str, str]] = []
    arguments = list(argv)
    while arguments:
        name = arguments.pop(0)
        if not name.startswith("--"):
            raise ValueError(f"{name!r} belongs to no option; options look like `--key value`.")
        key, equals, text = name.removeprefix("--").partition("=")
        if not equals:
            alone = not arguments or arguments[0].startswith("--")
            text = "true" if alone else arguments.pop(0)
        pairs.append((key, text))
    return pairs


def _read_yaml(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise ValueError(f"`--config` names {path}, which is not a file.")
    return yaml.safe_load(path.read_text()) or {}


def _override(values: dict[str, Any], keys: list[str], value: Any) -> dict[str, Any]:
    for key in reversed(keys):
        value = {key: value}
    return _merge(values, value)


def _merge(values: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    merged = dict(values)
    for key, change in changes.items():
        old = merged.get(key)
        merged[key] = _merge(old, change) if isinstance(old, dict) and isinstance(change, dict) else change
    return merged


def _print_help(config_class: type[BaseModel]) -> None:
    print("options: --config FILE, then any of these, each as `--key value`:")
    for name, field in config_class.model_fields.items():
        default = "required" if field.is_required() else f"default {field.get_default(call_default_factory=True)}"
        print(f"  --{name:32}{field.description or ''} ({default})")
