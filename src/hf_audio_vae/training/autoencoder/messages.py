"""Lines of the log: the model at the start of a run; at its end, figures beside Opus, and commands to go on with."""

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


def model_line(model: AutoencoderModel) -> str:
    """Return the class of a model and the properties of its card in one line."""
    return f"{type(model).__name__}: " + ", ".join(f"{name} {value}" for name, value in model_summary(model).items())


def logs_line(config: AutoencoderTrainingConfig) -> str:
    """Return where the log of the losses goes."""
    if config.report_to == "tensorboard":
        logs = shlex.quote(str(config.output_dir / "logs"))
        return f"losses, sounds and pictures: `tensorboard --logdir {logs}`"
    return f"losses, sounds and pictures: {config.report_to}"


def beside_opus(model: AutoencoderModel, metrics: Mapping[str, float], clips: Sequence[Clip]) -> list[str]:
    """Return lines with the bitrates at which Opus has the metrics of a model, and the rate of the model.

    The validation clips are coded with Opus. There are no lines if Opus cannot code them.
    """
    found = [name for name in ("mel_distance", "si_sdr_db") if math.isfinite(metrics.get(name, math.nan))]
    try:
        scale = OpusScale([clip.waveform for clip in clips], model.sampling_rate)
        lines = [f"{METRICS[name]} {metrics[name]:.3f}: {scale.rate_of(name, metrics[name])}" for name in found]
    except UncodableError:
        return []
    rate = metrics.get("nominal_bits_per_second", metrics.get("bits_per_second"))
    own = (
        [] if rate is None else [f"the model: {rate / 1000:.1f} kbit/s of {'codes' if model.codebook_sizes else 'KL'}"]
    )
    seconds = sum(clip.waveform.shape[-1] for clip in clips) / model.sampling_rate
    return [f"on the {len(clips)} validation clips ({seconds:.0f} s):", *(f"  {line}" for line in [*lines, *own])]


def next_commands(config: AutoencoderTrainingConfig) -> list[str]:
    """Return commands to hear, measure and use the model of a finished run."""
    model = str(config.output_dir)
    folder = Path(config.dataset_name)
    sound = config.dataset_name if folder.is_dir() and read_folder(folder).audio else "FILE"  # not of tables
    commands = [["reconstruct", sound, "--model", model, "--output_dir", f"{model}-sounds"]]
    if config.validation_data_files is None:  # else it would measure other items
        models = ["--model", model, "--model", "opus@16"]
        share = [] if config.held_out_share is None else ["--held_out_share", str(config.held_out_share)]
        data = [*_data(config, "validation_"), *share]
        commands.append(["evaluate", *models, *data, "--output_dir", f"{model}-figures"])
    if config.data_files is None:
        commands.append(["encode-dataset", "--model", model, *_data(config, ""), "--output_dir", f"{model}-encoded"])
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
