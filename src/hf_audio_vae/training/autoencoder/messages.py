"""Lines of the log of an autoencoder: the model; at the end, figures beside Opus, and commands to go on with."""

import math
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path

from hf_audio_vae.data.folders import read_folder
from hf_audio_vae.evaluation.cards import model_summary
from hf_audio_vae.evaluation.lossy import UncodableError
from hf_audio_vae.evaluation.opus_scale import OpusScale
from hf_audio_vae.evaluation.reports import METRICS
from hf_audio_vae.models import AutoencoderModel
from hf_audio_vae.training.autoencoder.config import AutoencoderTrainingConfig
from hf_audio_vae.training.autoencoder.validation import Clip
from hf_audio_vae.training.best import BEST_FOLDER, kept_validation
from hf_audio_vae.training.messages import first_of, properties_line

LEAST_SECONDS = 0.5  # mean length of the clips that Opus is compared on
FEW_ITEMS, FEW_SECONDS = 5, 10.0  # of a validation whose figures vary much


def model_line(model: AutoencoderModel) -> str:
    """Return the class of a model and the properties of its card in one line."""
    return properties_line(type(model).__name__, model_summary(model))


def validation_lines(config: AutoencoderTrainingConfig, clips: Sequence[Clip], sampling_rate: int) -> list[str]:
    """Return lines on the clips of the validations: their names if they are held out, and whether they are few."""
    lines, seconds = [], sum(clip.waveform.shape[-1] for clip in clips) / sampling_rate
    if config.held_out_share is not None:
        names = first_of([clip.name for clip in clips])
        lines.append(
            f"validations use about {config.held_out_share:.0%} of these items, chosen by their names; training does "
            f"not: {names}"
        )
    if len(clips) < FEW_ITEMS or seconds < FEW_SECONDS:
        lines.append(
            f"the validation has {len(clips)} items, {seconds:.1f} s in all: its metrics say little; use more sound"
        )
    return lines


def beside_opus(model: AutoencoderModel, metrics: Mapping[str, float], clips: Sequence[Clip]) -> list[str]:
    """Return lines with the bitrates at which Opus has the metrics of a model, and the rate of the model.

    The validation clips are coded with Opus. Instead, one line gives the reason if Opus cannot code them, or if they
    are so short that the container would have much of the bits.
    """
    seconds = sum(clip.waveform.shape[-1] for clip in clips) / model.sampling_rate
    if seconds / len(clips) < LEAST_SECONDS:
        return [
            f"no figures of Opus beside the model's: the validation clips have {seconds / len(clips):.2g} s on "
            f"average, and in files of less than {LEAST_SECONDS:g} s much of the bits is the container's"
        ]
    found = [name for name in ("mel_distance", "si_sdr_db") if math.isfinite(metrics.get(name, math.nan))]
    try:
        scale = OpusScale([clip.waveform for clip in clips], model.sampling_rate)
        lines = [f"{METRICS[name]} {metrics[name]:.3f}: {scale.rate_of(name, metrics[name])}" for name in found]
    except UncodableError as error:
        return [f"no figures of Opus beside the model's: {error}"]
    rate = metrics.get("nominal_bits_per_second", metrics.get("bits_per_second"))
    if rate is not None:
        lines.append(f"the model: {rate / 1000:.1f} kbit/s of {'codes' if model.codebook_sizes else 'KL'}")
    return [f"on the {len(clips)} validation clips, {seconds:.0f} s in all:", *(f"  {line}" for line in lines)]


def remarks(
    model: AutoencoderModel,
    config: AutoencoderTrainingConfig,
    history: Sequence[Mapping[str, float]],
    clips: Sequence[Clip],
) -> list[str]:
    """Return the lines below the table of a finished run: its figures beside Opus, and whether it got worse."""
    lines, name = beside_opus(model, history[-1], clips), "mel_distance"
    before, after = (row.get(name, math.nan) for row in (history[0], history[-1]))
    if config.pretrained_model_name_or_path and after > before:
        lines.append(
            f"the {METRICS[name]} is worse than before the training ({before:.3f}, then {after:.3f}): lower "
            f"`learning_rate`, train for fewer steps, or use more sound"
        )
    return lines


def best_folder(config: AutoencoderTrainingConfig, last_step: float) -> Path:
    """Return the folder of the best model, if the run keeps it and the last model is not the best."""
    kept = kept_validation(config.output_dir) if config.best_metric else {}
    return config.output_dir / BEST_FOLDER if kept.get("step", last_step) != last_step else config.output_dir


def next_commands(config: AutoencoderTrainingConfig, folder: Path | None = None) -> list[str]:
    """Return commands to hear, measure and use the model of a finished run, in `folder` or the output folder."""
    model = str(folder or config.output_dir)
    data = Path(config.dataset_name)
    sound = config.dataset_name if data.is_dir() and read_folder(data).audio else "FILE"  # not of tables
    commands = [["reconstruct", sound, "--model", model, "--output_dir", f"{config.output_dir}-sounds"]]
    if config.validation_data_files is None:  # else it would measure other items
        models = ["--model", model, "--model", "opus@16"]
        share = [] if config.held_out_share is None else ["--held_out_share", str(config.held_out_share)]
        measured = [*_data(config, "validation_"), *share]
        commands.append(["evaluate", *models, *measured, "--output_dir", f"{config.output_dir}-figures"])
    if config.data_files is None:
        encoded = f"{config.output_dir}-encoded"
        commands.append(["encode-dataset", "--model", model, *_data(config, ""), "--output_dir", encoded])
    return [shlex.join(["hf-audio-vae", *command]) for command in commands]


def _data(config: AutoencoderTrainingConfig, prefix: str) -> list[str]:
    """Return the options that name the data of training, or of validation."""
    names = ("dataset_name", "dataset_config_name", "dataset_split", "dataset_revision", "audio_column")
    values = {name: getattr(config, prefix + name) for name in names}
    defaults = {"dataset_split": "train"}
    return [
        part
        for name, value in values.items()
        if value is not None and value != defaults.get(name)
        for part in (f"--{name}", value)
    ]
