"""The `completion` command."""

import argparse
from pathlib import Path

import shtab

from hf_audio_vae.cli.main import TRAINING, command_parser, declare
from hf_audio_vae.cli.parser import Parser
from hf_audio_vae.cli.training_scripts import recipes

FILES = ("model", "config", "dataset_name", "eval_dataset_name", "data_files", "sounds")  # and all of type `Path`


def run(arguments: argparse.Namespace) -> None:
    """Run the command."""
    print(shtab.complete(whole_parser(), arguments.shell))


def whole_parser() -> Parser:
    """Return the parser of the program with the arguments of all commands."""
    parser, parsers = command_parser()
    for name, command in parsers.items():
        if name in TRAINING:
            command.add_argument("folder", nargs="?", type=Path)
            command.add_argument("--recipe", choices=list(recipes(name)))
            command.add_argument("--output_dir", type=Path)
        else:
            declare(command, name)
        for action in command._actions:
            if action.type is Path or action.dest in FILES:
                action.complete = shtab.FILE  # type: ignore[attr-defined]
    return parser
