"""Lines of the log at the start of a run, and commands at its end, of all training scripts."""

import shlex
from collections.abc import Mapping, Sequence

from hf_audio_vae.data.encoding_records import EncodingRecord
from hf_audio_vae.training.config import TrainingConfig

NAMED = 5  # items or classes that the log names


def properties_line(name: str, properties: Mapping[str, object]) -> str:
    """Return the class of a model and its properties in one line."""
    return f"{name}: " + ", ".join(f"{label} {value}" for label, value in properties.items())


def logs_line(config: TrainingConfig) -> str:
    """Return where the log of the losses goes."""
    if config.report_to == "tensorboard":
        logs = shlex.quote(str(config.output_dir / "logs"))
        return f"losses, sounds and pictures: `tensorboard --logdir {logs}`"
    return f"losses, sounds and pictures: {config.report_to}"


def data_line(config: TrainingConfig, record: EncodingRecord, classes: Sequence[str] = ()) -> str:
    """Return the size of encoded training data, and its classes."""
    line = f"training data: {record.items} items, {record.seconds:.1f} s of sound, in {config.dataset_name}"
    return f"{line}; {len(classes)} classes: {first_of(classes)}" if classes else line


def first_of(names: Sequence[str]) -> str:
    """Return the first of some names in one line."""
    return ", ".join(names[:NAMED]) + (", ..." if len(names) > NAMED else "")


def generate_command(config: TrainingConfig, *options: str) -> str:
    """Return the command that generates with the model of a finished run; without options, by the model alone."""
    words = ["hf-audio-vae", "generate", *(options or [str(config.output_dir)])]
    return shlex.join([*words, "--output_dir", f"{config.output_dir}-sounds"])
