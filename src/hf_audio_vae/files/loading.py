"""Loading of other libraries' models, with an error unless their files hold exactly their weights.

The libraries report missing, unknown and different weights after their own renaming and tying of weights.
"""

import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from hf_audio_vae.files.location import check_revision, existing, located
from hf_audio_vae.files.weights import check_finite_weights, check_keys, first_names, on_one_line, read_shapes

# Loggers of the same report, and of a remark about models on the meta device.
REPORTERS = (
    "transformers.modeling_utils",
    "transformers.distributed.tensor_parallel",
    "diffusers.models.modeling_utils",
)
PICKLES = (".bin", ".bin.index.json", ".ckpt", ".pt", ".pth")


def load_checked(model_class: Any, name: str | Path, *, unused: str | None = None, **options: Any) -> Any:
    """Load a model of transformers or diffusers from safetensors files.

    Args:
        model_class (`type`): A class with `from_pretrained`, such as `T5EncoderModel` or `AutoModelForCausalLM`.
        name (`str` or `Path`): Folder or Hub id.
        unused (`str`, *optional*): Pattern of weights that the files may have in addition, if `model_class` is a part
            of the saved model.
        options: Those of `from_pretrained`. With ``device_map={"": "meta"}``, the files are only checked.

    Returns:
        The model, in evaluation mode.

    Raises:
        ValueError: Weights are missing, unknown, damaged, of another shape or not finite; the configuration is
            invalid; or a revision of a folder is given.
        OSError: There is no such folder or repository, or it has no safetensors file.
    """
    check_revision(name, options.get("revision"))
    name, options = located(str(name), options)
    checked = {"use_safetensors": True, "output_loading_info": True, "ignore_mismatched_sizes": True}
    try:
        with existing(name), _without_reports():
            model, info = model_class.from_pretrained(name, **checked, **options)
    except Exception as error:  # of any type: the libraries check few values of a configuration
        for path in Path(name).glob("*.safetensors"):
            read_shapes(path)
        if isinstance(error, OSError) and (pickles := _pickles(Path(name, options.get("subfolder") or ""))):
            raise OSError(
                f"{name} holds no safetensors files, but {pickles}. Pickles are not read, since they can run code; "
                f"load the model where you trust it, and save it again with `save_pretrained`."
            ) from error
        if isinstance(error, OSError | ImportError):
            raise
        raise ValueError(f"{name} cannot be loaded: {on_one_line(error)}") from error
    check_keys(
        name,
        type(model),
        missing=info["missing_keys"],
        unknown=[key for key in info["unexpected_keys"] if unused is None or not re.search(unused, key)],
        different=[
            f"{key} {tuple(found)} instead of {tuple(expected)}" for key, found, expected in info["mismatched_keys"]
        ],
    )
    check_finite_weights(name, model)
    return model.eval()


def _pickles(folder: Path) -> str:
    """Return the first names of files of pickled weights in a folder that has no safetensors files."""
    if any(folder.glob("*.safetensors")):
        return ""
    return first_names(sorted(path.name for ending in PICKLES for path in folder.glob(f"*{ending}")))


@contextmanager
def _without_reports() -> Iterator[None]:
    """Silence the reports of the libraries, which an error here replaces."""
    loggers = [logging.getLogger(name) for name in REPORTERS]
    levels = [logger.level for logger in loggers]
    try:
        for logger in loggers:
            logger.setLevel(logging.ERROR)
        yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
