"""The `completion` command."""

import argparse
from pathlib import Path

import shtab
from pydantic import BaseModel

from hf_audio_vae.cli.main import TRAINING, command_parser, declare
from hf_audio_vae.cli.parser import Parser
from hf_audio_vae.cli.training_scripts import recipes
from hf_audio_vae.training.autoencoder.config import AutoencoderTrainingConfig
from hf_audio_vae.training.config import flat_fields
from hf_audio_vae.training.encoding.config import EncodingConfig
from hf_audio_vae.training.latent_diffusion.config import LatentDiffusionTrainingConfig
from hf_audio_vae.training.token_prior.config import TokenPriorTrainingConfig
from hf_audio_vae.training.token_vae.config import TokenVAETrainingConfig

CONFIGS: dict[str, type[BaseModel]] = {
    "train": AutoencoderTrainingConfig,
    "encode-dataset": EncodingConfig,
    "train-diffusion": LatentDiffusionTrainingConfig,
    "train-prior": TokenPriorTrainingConfig,
    "train-token-vae": TokenVAETrainingConfig,
}
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
            for key, field in flat_fields(CONFIGS[name]):
                command.add_argument(f"--{key}", type=Path if key == "output_dir" else str, help=field.description)
        else:
            declare(command, name)
        for action in command._actions:
            if action.type is Path or action.dest in FILES:
                action.complete = shtab.FILE  # type: ignore[attr-defined]
    return parser
