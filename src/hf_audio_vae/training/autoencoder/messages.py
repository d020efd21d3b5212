"""Lines of the log: the model at the start of a run, and commands to go on with at its end."""

import shlex
from pathlib import Path

from hf_audio_vae.evaluation.cards import model_summary
from hf_audio_vae.models import AutoencoderModel
from hf_audio_vae.training.autoencoder.config import AutoencoderTrainingConfig


def model_line(model: AutoencoderModel) -> str:
    """Return the class of a model and the properties of its card in one line."""
    return f"{type(model).__name__}: " + ", ".join(f"{name} {value}" for name, value in model_summary(model).items())


def logs_line(config: AutoencoderTrainingConfig) -> str:
    """Return where the log of the losses goes."""
    if config.report_to == "tensorboard":
        logs = shlex.quote(str(config.output_dir / "logs"))
        return f"losses, sounds and pictures: `tensorboard --logdir {logs}`"
    return f"losses, sounds and pictures: {config.report_to}"


def next_commands(config: AutoencoderTrainingConfig) -> list[str]:
    """Return commands to hear, measure and use the model of a finished run."""
    model = str(config.output_dir)
    data = ["--dataset_name", config.validation_dataset_name]
    options = {
        "--dataset_config_name": config.validation_dataset_config_name,
        "--dataset_revision": config.validation_dataset_revision,
        "--audio_column": config.validation_audio_column,
    }
    if config.validation_dataset_split != "train":
        options["--dataset_split"] = config.validation_dataset_split
    data += [part for name, value in options.items() if value is not None for part in (name, value)]
    sound = config.dataset_name if Path(config.dataset_name).is_dir() else "FILE"
    commands = [
        ["reconstruct", sound, "--model", model, "--output_dir", f"{model}-sounds"],
        ["evaluate", "--model", model, "--model", "opus@16", *data, "--output_dir", f"{model}-figures"],
        ["encode-dataset", config.dataset_name, "--model", model, "--output_dir", f"{model}-encoded"],
    ]
    if config.held_out_share is not None or config.validation_data_files is not None:
        del commands[1]  # it would measure other items than the validation
    return [shlex.join(["hf-audio-vae", *command]) for command in commands]
