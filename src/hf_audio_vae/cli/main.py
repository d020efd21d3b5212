"""The commands of `hf-audio-vae`: one file for what a command accepts, and one for what it does."""

import importlib
import io
import os
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from hf_audio_vae.cli.outputs import printable
from hf_audio_vae.cli.parser import Parser
from hf_audio_vae.cli.training_scripts import run_script
from hf_audio_vae.version import __version__

TRAINING = {
    "train": "train or fine-tune an autoencoder on a folder of sound, by a recipe",
    "encode-dataset": "encode a data set to latents or codes, for the next three commands",
    "train-diffusion": "train latent diffusion on latents",
    "train-prior": "train a language model on codes",
    "train-token-vae": "train a transformer VAE on codes or scores",
}
COMMANDS = {
    "reconstruct": "encode and decode files: sound, spectrograms and a table of distances",
    "encode": "encode files to latents or codes",
    "decode": "decode latents or codes to sound files",
    "stream": "encode and decode files block by block, and report whether the model runs in real time",
    "evaluate": "measure models on a data set, and compare them with each other and with codecs of files",
    "card": "write the card of a model: use, figures, sounds",
    "distances": "measure how far generated sounds are from a data set",
    "diffusability": "measure how well a small diffusion model learns the latents of models, and compare them",
    "inspect": "describe a model's latents or codes on a data set",
    "arithmetic": "change an attribute of sounds by adding a direction to their latents",
    "morph": "interpolate between sounds: a path of sounds, or one sound that moves from one to another",
    "map": "draw a map of a data set: a point for each clip, with sound and nearest neighbours",
    "statistics": "measure the latents of a model on a data set, for normalisation and for samples",
    "sample": "decode samples of the measured latents of a model",
    "doctor": "check a model, and whether files suit it",
    "studio": "open a browser app: reconstruct, compare blindly, morph, sample, generate, inpaint",
    "generate": "generate sound with a latent diffusion pipeline or a language model of codes",
    "convert": "convert a model to or from another library's format",
    "merge": "merge an adapter (LoRA) into its model",
    "export": "export encoder and decoder to ONNX or torch programs",
    "completion": "print a script that completes commands and options in a shell",
}
# Extra of this package that installs a library, by library.
EXTRAS = {
    "constriction": "coding",
    "datasets": "eval",
    "gradio": "studio",
    "matplotlib": "eval",
    "onnx": "export",
    "onnxruntime": "export",
    "onnxscript": "export",
    "pesq": "metrics",
    "pydantic": "train",
    "pyloudnorm": "metrics",
    "pystoi": "metrics",
    "shtab": "completion",
    "sklearn": "latents",
    "tensorboard": "train",
    "tqdm": "train",
    "umap": "umap",
    "yaml": "train",
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code.

    A user error is one line on stderr and exit code 2; 1 if some of several files cannot be used. Ctrl-C is 130, a
    closed pipe 141. A traceback is a bug.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # file names that are no text
    try:
        code = run_command(argv)
        if sys.stdout is not None:
            sys.stdout.flush()
        return code
    except KeyboardInterrupt:
        print("hf-audio-vae: interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # the interpreter flushes once more when it ends
        return 141


def command_parser() -> tuple[Parser, dict[str, Parser]]:
    """Return the parser of the program, and those of its commands, which have no arguments yet."""
    parser = Parser(prog="hf-audio-vae", description="Train, measure and use audio autoencoders.")
    parser.add_argument("--version", action="version", version=f"hf-audio-vae {__version__}")
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="COMMAND")
    summaries = {**COMMANDS, **TRAINING}
    return parser, {name: verbs.add_parser(name, help=summary) for name, summary in summaries.items()}


def declare(parser: Parser, name: str) -> None:
    """Declare description and arguments of a command that is no training."""
    accepted = importlib.import_module(f"hf_audio_vae.cli.arguments.{name}")
    parser.description = accepted.__doc__
    accepted.add_arguments(parser)


def run_command(argv: Sequence[str] | None) -> int:
    """Run a verb; print errors of the user in one line."""
    argv = sys.argv[1:] if argv is None else list(argv)
    parser, parsers = command_parser()
    name = next((argument for argument in argv if argument in parsers), None)
    if name is None:
        if not argv:
            parser.exit(2, parser.format_help())
        parser.parse_args(argv)  # prints help or an error, and exits
        return 2
    # OpenMP reads this when torch is imported. Waiting threads sleep, so the data loader has the cores.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    missing: list[Path] = []
    try:
        if name in TRAINING:
            run_script(parsers[name], name, argv[argv.index(name) + 1 :])
            return 0
        declare(parsers[name], name)
        arguments = parser.parse_args(argv)
        missing = missing_folders(getattr(arguments, "output_dir", None))
        importlib.import_module("hf_audio_vae.public")  # registers the classes
        importlib.import_module("hf_audio_vae.runtime.allocator").keep_freed_memory()
        verb = importlib.import_module(f"hf_audio_vae.cli.{name}")  # lazy: commands need different libraries
        return verb.run(arguments) or 0
    except BrokenPipeError:
        raise
    except (ValueError, OSError) as error:
        for folder in missing:
            with suppress(OSError):  # it holds a file, or is still missing
                folder.rmdir()
        message = printable(parsers[name].name_options(" ".join(str(error).split())))
        print(f"hf-audio-vae {name}: {message}", file=sys.stderr)
        return 2
    except ModuleNotFoundError as error:
        library = (error.name or "").partition(".")[0]
        if library not in EXTRAS:
            raise
        print(f"hf-audio-vae {name}: needs {library}; pip install 'hf-audio-vae[{EXTRAS[library]}]'", file=sys.stderr)
        return 2


def missing_folders(folder: Path | None) -> list[Path]:
    """Return an output folder and its parents, if they do not exist, the lowest first."""
    return [] if folder is None else [path for path in (folder, *folder.parents) if not path.exists()]


if __name__ == "__main__":
    sys.exit(main())
