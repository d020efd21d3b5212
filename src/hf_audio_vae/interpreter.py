"""The interpreter that imports the package: whether it can, and whether it runs the command."""

import sys
from pathlib import Path


def check_interpreter() -> None:
    """Refuse `python -OO` in one line: without docstrings, transformers cannot be imported."""
    if sys.flags.optimize > 1:
        sys.exit("hf-audio-vae: transformers needs docstrings; run Python without -OO and PYTHONOPTIMIZE=2.")


def runs_the_command() -> bool:
    """Whether this process is `hf-audio-vae` or `python -m hf_audio_vae`."""
    program = sys.argv[0] if sys.argv else ""
    if program == "-m":  # while Python looks for the module
        return bool({"hf_audio_vae", "hf_audio_vae.cli.main"} & set(sys.orig_argv))
    return Path(program).stem == "hf-audio-vae"
