"""Commands declare what they accept without the libraries that they need; the names are those of the libraries."""

import importlib
import subprocess
import sys

import pytest

from hf_audio_vae.cli import convert, export
from hf_audio_vae.cli.arguments import convert as convert_arguments
from hf_audio_vae.cli.arguments import diffusability as diffusability_arguments
from hf_audio_vae.cli.arguments import evaluate, shared
from hf_audio_vae.cli.arguments import export as export_arguments
from hf_audio_vae.cli.arguments import map as map_arguments
from hf_audio_vae.cli.arguments import morph as morph_arguments
from hf_audio_vae.cli.arguments import sample as sample_arguments
from hf_audio_vae.cli.main import COMMANDS
from hf_audio_vae.comparison.diffusability import Budget
from hf_audio_vae.evaluation.embeddings import EMBEDDINGS
from hf_audio_vae.evaluation.registry import RECONSTRUCTION_METRICS, SIGNAL_METRICS
from hf_audio_vae.files.pretrained import DTYPES
from hf_audio_vae.latents import ALIGNMENTS, PROJECTIONS
from hf_audio_vae.latents.interpolation import METHODS
from hf_audio_vae.latents.prior import PRIORS

HEAVY = {"torch", "numpy", "diffusers", "transformers", "datasets", "matplotlib", "sklearn", "gradio"}


def test_names_are_those_of_the_package() -> None:
    assert tuple(sorted(DTYPES)) == shared.DTYPES
    assert tuple(convert.FORMATS) == convert_arguments.FORMATS
    assert tuple(export.FORMATS) == export_arguments.FORMATS
    assert tuple(PROJECTIONS) == map_arguments.PROJECTIONS
    assert tuple(ALIGNMENTS) == morph_arguments.ALIGNMENTS
    assert tuple(METHODS) == morph_arguments.METHODS
    assert sample_arguments.PRIORS == PRIORS
    assert tuple(name for name in RECONSTRUCTION_METRICS if name not in SIGNAL_METRICS) == evaluate.METRICS
    assert tuple(EMBEDDINGS) == evaluate.EMBEDDINGS
    assert Budget().steps == diffusability_arguments.STEPS


def test_help_of_every_command_and_wrong_usage_import_no_heavy_library() -> None:
    program = f"""
import contextlib, io, sys
sys.argv = ["hf-audio-vae"]
from hf_audio_vae.cli.main import main
for name in {list(COMMANDS)}:
    for arguments, code in ((["--help"], 0), (["--no_such_option"], 2)):
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()) as errors:
            try:
                ended = main([name, *arguments])
            except SystemExit as end:
                ended = end.code
        assert ended == code, (name, arguments, ended, errors.getvalue())
print(sorted({HEAVY} & set(sys.modules)))
"""
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert ran.stdout == "[]\n"


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_describes_itself(name: str) -> None:
    accepted = importlib.import_module(f"hf_audio_vae.cli.arguments.{name}")
    assert accepted.__doc__.strip()
    assert callable(importlib.import_module(f"hf_audio_vae.cli.{name}").run)
