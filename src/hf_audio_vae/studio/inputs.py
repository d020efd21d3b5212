"""What the functions of the tabs get. Values are checked, since callers of the HTTP API are not bound to the page."""

import html
import io
import math
import reprlib
from collections.abc import Collection
from pathlib import Path
from typing import Any

import gradio as gr
import numpy as np
from PIL import Image

MAX_LAYERS = 8
MAX_LAYER_PIXELS = 1 << 23  # several times those of a wide screen; a small file can hold billions


def checked(component: Any, value: Any) -> Any:
    """Return the value of a component for a function.

    Args:
        component (`gradio.components.Component`): A component of the page.
        value: What the caller sent for it.

    Returns:
        A number, a text, a name, a list of names, the path of a sound or `None`, or the layers of a painting.

    Raises:
        ValueError: The page cannot give this value.
    """
    label = str(component.label)
    match component:
        case gr.Slider() | gr.Number():
            return number(label, value, component.minimum, component.maximum, whole=component.precision == 0)
        case gr.CheckboxGroup():
            names = value if isinstance(value, list) else [value]
            return [choice(label, name, keys_of(component)) for name in names]
        case gr.Dropdown():
            return choice(label, value, keys_of(component))
        case gr.Textbox():
            return "" if value is None else str(value)
        case gr.Audio():
            return None if value is None else value["path"]
        case gr.ImageEditor():
            return painted_layers(component, value)
    return value


def keys_of(component: gr.CheckboxGroup | gr.Dropdown) -> list[str]:
    """Return the values of a menu, without the texts that it shows for them."""
    return [str(key) for _, key in component.choices or ()]


def number(label: str, value: Any, low: float | None, high: float | None, *, whole: bool) -> float | int:
    """Return a number within bounds, an `int` if it must be whole; raise `ValueError` for anything else."""
    low, high = (-math.inf if low is None else low), (math.inf if high is None else high)
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if is_number and low <= value <= high and abs(value) < math.inf and not (whole and value % 1):  # not NaN
        return int(value) if whole else float(value)
    kind = "a whole number" if whole else "a number"
    bounds = f" from {low:.10g} to {high:.10g}" if high < math.inf else f" of {low:.10g} or more"
    raise ValueError(f"{label} is {shown(value)}; give {kind}{bounds if low > -math.inf else ''}.")


def choice(label: str, value: object, names: Collection[str]) -> str:
    """Return one of the names of a menu; raise `ValueError` for anything else."""
    if not isinstance(value, str) or value not in names:
        raise ValueError(f"{label} is {shown(value)}; choose from {', '.join(names)}.")
    return value


def painted_layers(editor: gr.ImageEditor, value: dict[str, Any] | None) -> list[np.ndarray]:
    """Return the layers over the picture of an editor, each uint8 (height, width, 4).

    Raises:
        ValueError: There are too many layers, or one is too large or no image.
    """
    if value is None:
        return []
    stored = editor.blob_storage.pop(value["id"], None) if value.get("id") else None  # what a browser sends
    files = (
        [layer["path"] for layer in value["layers"]] if stored is None else [io.BytesIO(x) for x in stored.layers if x]
    )
    if len(files) > MAX_LAYERS:
        raise ValueError(f"the painting has {len(files)} layers; give at most {MAX_LAYERS}.")
    return [layer_of(file) for file in files]


def layer_of(file: str | io.BytesIO) -> np.ndarray:
    """Read an image, uint8 (height, width, 4); its size is checked before it is decoded."""
    try:
        with Image.open(file) as image:
            if image.width * image.height > MAX_LAYER_PIXELS:
                raise ValueError(
                    f"the painting has {image.width} x {image.height} pixels; show the spectrogram, and paint over it."
                )
            return np.asarray(image.convert("RGBA"))
    except (OSError, SyntaxError, Image.DecompressionBombError) as error:  # SyntaxError: a damaged PNG
        raise ValueError("the painting is no image; show the spectrogram, and paint over it.") from error


def shown(value: object) -> str:
    """Return a short text of any value; the page gives `None` for an empty field."""
    return "empty" if value is None else reprlib.repr(value)


def message_of(error: Exception) -> str:
    """Return the message of an error as HTML, without folders of the server."""
    if isinstance(error, OSError) and error.filename:
        message = f"{Path(error.filename).name}: {error.strerror}"
    else:
        message = str(error)
    return html.escape(message, quote=False)
