"""The training scripts as commands: a folder and the name of a recipe, then the options of the script."""

import importlib.util
import re
import sys
from argparse import ArgumentParser, RawDescriptionHelpFormatter
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from shutil import get_terminal_size
from textwrap import fill

from hf_audio_vae.training.yaml_files import read_options

SCRIPTS = {
    "train": "train_autoencoder",
    "encode-dataset": "encode_latents",
    "train-diffusion": "train_latent_diffusion",
    "train-prior": "train_token_prior",
    "train-token-vae": "train_token_vae",
}
HELD_OUT = ["--held_out_share", "0.1"]
DATA = ("--dataset_config_name", "--dataset_split", "--dataset_revision", "--data_files", "--audio_column")
VALIDATION_DATA = ("validation_data", "validation_audio_column")  # beginnings of the options that name it
USAGE = """FOLDER, or the Hub id of a data set, comes first and is the `--dataset_name`. NAME is a recipe of this list,
or a YAML file. All options of the recipe can be overridden: `hf-audio-vae {verb} --recipe NAME --help` lists them.
"""


def scripts_folder() -> Path:
    """Return the folder of the scripts: inside an installed package, or `training` of a clone."""
    installed = Path(__file__).parents[1] / "training/scripts"
    return installed if installed.is_dir() else Path(__file__).parents[3] / "training"


def recipes(verb: str) -> dict[str, str]:
    """Return what each recipe of a command is for, on which machine, how long it takes, and what it has reached.

    This is the first paragraph of the recipe, after the name of its command.
    """
    found: dict[str, str] = {}
    for path in sorted(scripts_folder().glob("recipes/*.yaml")):
        lines = path.read_text().splitlines()
        end = next(number for number, line in enumerate(lines) if line.strip("# ") == "")
        command, _, summary = " ".join(line.lstrip("# ") for line in lines[:end]).partition(": ")
        if command == verb:
            found[path.stem] = summary
    return found


def script_arguments(verb: str, argv: Sequence[str]) -> list[str]:
    """Return the arguments of the script: FOLDER as `--dataset_name`, `--recipe` as `--config`.

    Without validation data, `train` holds out a tenth of its data, see `_held_out`.

    Raises:
        ValueError: There is no recipe of this name, or it is a file that cannot be read as YAML.
    """
    given = [part for text in argv for part in (text.split("=", 1) if text.startswith("--") else [text])]
    folder = ["--dataset_name", given.pop(0)] if given and not given[0].startswith("-") else []
    if "--recipe" not in given:
        if folder and recipes(verb) and "--config" not in given:
            raise ValueError(f"give a recipe with `--recipe NAME`, one of {', '.join(recipes(verb))}.")
        files = [Path(file) for option, file in pairwise(given) if option == "--config" and Path(file).is_file()]
        return [*folder, *given, *(_held_out(folder, given, files[0]) if verb == "train" and files else [])]
    position = given.index("--recipe")
    if given[position + 1 :] == []:
        raise ValueError("`--recipe` has no value; give the name of a recipe, or a file.")
    name = given[position + 1]
    if not Path(name).is_file() and name not in recipes(verb):
        raise ValueError(
            f"`--recipe` names {name}, which is neither a file nor a recipe of `{verb}`: "
            f"{', '.join(recipes(verb)) or 'this command has none'}."
        )
    own = Path(name) if Path(name).is_file() else None
    config = str(own or scripts_folder() / f"recipes/{name}.yaml")
    options = [*folder, "--config", config, *given[:position], *given[position + 2 :]]
    return options + (_held_out(folder, given, own) if verb == "train" else [])


def _held_out(folder: Sequence[str], given: Sequence[str], own: Path | None) -> list[str]:
    """Return the options that hold out a tenth of the data, unless the command line or an own file names others.

    The validation data of a recipe of this package may not be there, so it is not used with another FOLDER. Neither is
    that of an own file with `held_out_share`: it is the training data that FOLDER replaces.
    """
    file = {} if own is None else read_options(own)
    shared = "--held_out_share" in given or file.get("held_out_share") is not None
    if any(option.removeprefix("--").startswith(VALIDATION_DATA) for option in given if option.startswith("--")):
        return []
    if any(name.startswith(VALIDATION_DATA) for name in map(str, file)) and not shared:
        return []
    if not folder and own is None:
        return []
    same = {"--dataset_name": folder[1], "--dataset_split": str(file.get("dataset_split", "train"))} if folder else {}
    same |= {option: value for option, value in pairwise(given) if option in DATA}
    options = [part for option, value in same.items() for part in (f"--validation_{option[2:]}", value)]
    return options + ([] if shared else HELD_OUT)


def describe(parser: ArgumentParser, verb: str) -> None:
    """Give a command's parser its usage and the list of its recipes."""
    recipe = " --recipe NAME" if recipes(verb) else ""
    parser.usage = f"hf-audio-vae {verb} [FOLDER]{recipe} [--OPTION VALUE ...]"
    parser.formatter_class = RawDescriptionHelpFormatter
    script = (scripts_folder() / f"{SCRIPTS[verb]}.py").read_text()
    parser.description = re.split(r'"""|\n\naccelerate', script)[1] + "\n\n" + USAGE.format(verb=verb)
    parser.epilog = list_recipes(verb)


def list_recipes(verb: str) -> str:
    """Return the recipes of a command as lines of the terminal's width."""
    width = max(60, min(get_terminal_size().columns, 119))
    found = recipes(verb).items()
    return "\n".join(
        f"{name}\n" + fill(text, width, initial_indent="    ", subsequent_indent="    ") for name, text in found
    )


def run_script(parser: ArgumentParser, verb: str, argv: Sequence[str]) -> None:
    """Run the script of a command and exit with its code, as `accelerate launch` would run it.

    Raises:
        SystemExit: Always, unless the script succeeds.
        ValueError: See `script_arguments`.
    """
    describe(parser, verb)
    if not argv:
        parser.error(f"give FOLDER and --recipe NAME; `hf-audio-vae {verb} --help` lists the recipes")
    if "--recipe" not in argv and {"-h", "--help"} & set(argv):
        parser.print_help()
        return
    if list(argv) == ["--recipe"]:
        print(list_recipes(verb))
        return
    arguments = script_arguments(verb, argv)
    path = scripts_folder() / f"{SCRIPTS[verb]}.py"
    name = f"hf_audio_vae.training.scripts.{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise OSError(f"{path} is not there; install the package again.")
    script = importlib.util.module_from_spec(spec)
    sys.modules[name] = script
    spec.loader.exec_module(script)
    script.main_or_exit(script.main, arguments)
