"""The location of a model or a data set: a folder, a model of this package or a Hub id; a subfolder and a revision."""

from collections.abc import Iterator
from contextlib import contextmanager
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from huggingface_hub.errors import HFValidationError

PRETRAINED = Path(__file__).parents[1] / "pretrained"  # a folder for each model of this package, by its name
DEFAULT_MODEL = "stft-vae-24khz"
INDICES = ("config.json", "model_index.json")  # of a model and of a pipeline
CHECKPOINT_STATE = "trainer_state_0.json"  # of the main process, in each checkpoint


def model_location(name: str) -> str:
    """Return the folder of a model or a pipeline of this package; other names are returned unchanged.

    Raises:
        ValueError: A folder of a model has that name, too.
    """
    shipped = PRETRAINED / name
    if shipped.name != name or not any((shipped / index).is_file() for index in INDICES):
        return name
    if any(Path(name, index).exists() for index in INDICES):
        raise ValueError(
            f"{name} is a model of this package and a folder of a model here; name the folder as "
            f"{Path(name).resolve()}, or work in another folder to use the model of the package."
        )
    return str(shipped)


def is_shipped(folder: str) -> bool:
    """Whether a location is a folder of this package."""
    return Path(folder).parent == PRETRAINED


@contextmanager
def existing(name: str | Path, remedy: str = "name an existing folder or a Hub id") -> Iterator[None]:
    """Raise `FileNotFoundError` if a name cannot be a Hub id and there is no such folder.

    For a name that can be both, the Hub is asked in the block. Its error then also says that there is no such folder.

    Args:
        name (`str` or `Path`): A folder or a Hub id.
        remedy (`str`): What to do if there is neither.
    """
    text, folder = str(name), Path(model_location(str(name))).expanduser()
    if not folder.exists() and (text.startswith((".", "~", "/")) or text.count("/") > 1):
        raise FileNotFoundError(f"there is no folder {text}; {remedy}.")
    try:
        yield
    except (OSError, HFValidationError) as error:
        if folder.exists():
            raise
        reason = " ".join(str(error).split()).rstrip(".")
        raise FileNotFoundError(
            f"there is no folder {text} here, nor can it be loaded from the Hub; {remedy}. {reason}."
        ) from error


def check_revision(name: str | Path, revision: str | None) -> None:
    """Raise `ValueError` if a revision is given for a local folder, which has only one."""
    if revision not in (None, "main") and Path(model_location(str(name))).is_dir():
        raise ValueError(f"`revision` {revision!r} has no effect on the local folder {name}; leave it out.")


def check_subfolder(name: str | Path, subfolder: str | None) -> None:
    """Raise `ValueError` if a local folder has no such subfolder, or is a pipeline and no subfolder is given."""
    folder = Path(model_location(str(name)))
    if not folder.is_dir():
        return
    if subfolder and not (folder / subfolder).exists():
        raise ValueError(f"the folder {name} has no `subfolder` {subfolder!r}; give another, or leave it out.")
    if not subfolder and (folder / "model_index.json").is_file() and not (folder / "config.json").is_file():
        raise ValueError(f"{name} is a pipeline; give the `subfolder` of its model, as 'vae'.")


def check_no_checkpoint(name: str | Path) -> None:
    """Raise `ValueError` if a folder is a checkpoint of a training run, or belongs to one: no complete model."""
    folder = Path(name).resolve()
    checkpoint = next((path for path in (folder, folder.parent) if (path / CHECKPOINT_STATE).is_file()), None)
    if checkpoint is not None:
        raise ValueError(
            f"{name} is a checkpoint of a training run; name the folder of the run, {checkpoint.parent}, which holds "
            f"the model after its last step."
        )


def located(name: str, options: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    """Join a local folder and its subfolder, which diffusers ignores if the folder itself holds a model.

    Raises:
        FileNotFoundError: There is no such folder, and the name is almost that of a model of this package.
    """
    _check_spelling(name)
    subfolder, name = options.get("subfolder"), model_location(name)
    if subfolder and Path(name).is_dir():
        return str(Path(name) / subfolder), {key: value for key, value in options.items() if key != "subfolder"}
    return name, options


def _check_spelling(name: str) -> None:
    if "/" in name or (PRETRAINED / name).exists() or Path(name).exists():
        return
    if alike := get_close_matches(name, [folder.name for folder in PRETRAINED.iterdir()], 1, 0.8):
        raise FileNotFoundError(f"there is no folder {name}; did you mean {alike[0]}, a model of this package?")
