"""Parts of the tabs: players, menus, and buttons that report errors as messages."""

import functools
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, Literal

import gradio as gr
import torch
from gradio_client.utils import is_http_url_like

from hf_audio_vae.studio.inputs import checked, message_of

Function = Callable[..., Any]
MAX_SEED = 2**32 - 1
TITLE = "This does not work"


def uploads_only(component: Any) -> Any:
    """Return a component that refuses an address in the place of a file, which Gradio would fetch.

    It is no subclass: for each subclass of a component, Gradio writes a file beside its source.
    """
    move = component.async_move_resource_to_block_cache

    async def move_file(path: str | Path | None) -> str | None:
        if path is not None and is_http_url_like(str(path)):
            raise quiet_error(ValueError("the studio fetches no addresses; upload the file."))
        return await move(path)

    component.async_move_resource_to_block_cache = move_file
    return component


def sound_input(label: str, elem_id: str, value: str | None = None) -> gr.Audio:
    """Return a player that accepts a file or a recording."""
    sources: list[Literal["upload", "microphone"]] = ["upload", "microphone"]
    return uploads_only(
        gr.Audio(value, label=label, elem_id=elem_id, sources=sources, type="filepath", buttons=["download"])
    )


def sound_output(label: str, elem_id: str, value: str | None = None) -> gr.Audio:
    """Return a player of a result."""
    return gr.Audio(value, label=label, elem_id=elem_id, interactive=False, type="filepath", buttons=["download"])


def blind_output(label: str, elem_id: str) -> gr.Audio:
    """Return a player of a result that does not draw the waveform."""
    options = gr.WaveformOptions(show_recording_waveform=False)
    return gr.Audio(label=label, elem_id=elem_id, interactive=False, type="filepath", waveform_options=options)


def menu(label: str, names: Iterable[str], elem_id: str) -> gr.Dropdown:
    """Return a menu whose first entry is chosen."""
    choices = list(names)
    return gr.Dropdown(choices, value=choices[0], label=label, elem_id=elem_id)


def seconds_input(max_seconds: float, elem_id: str) -> gr.Slider:
    """Return a slider of the length of a new sound."""
    low, start = min(0.5, max_seconds / 2), min(4.0, max_seconds)
    return gr.Slider(low, max_seconds, start, label="seconds", elem_id=elem_id)


def steps_input(elem_id: str) -> gr.Slider:
    """Return a slider of the number of denoising steps."""
    return gr.Slider(1, 200, 50, step=1, precision=0, label="denoising steps", elem_id=elem_id)


def seed_input(elem_id: str) -> gr.Number:
    """Return a field for the seed of the random numbers."""
    return gr.Number(0, precision=0, minimum=0, maximum=MAX_SEED, label="seed", elem_id=elem_id)


def run_on(
    trigger: Function | Sequence[Function], function: Function, inputs: Sequence[Any], outputs: Sequence[Any]
) -> None:
    """Call a function on an event. Functions run one after another, since each may need all memory."""
    gr.on(
        trigger,
        with_messages(function, inputs),
        list(inputs),
        list(outputs),
        concurrency_limit=1,
        concurrency_id="models",
        api_name=function.__name__,
        preprocess=False,  # `checked` does it, with messages and without tracebacks in the log
    )


def with_messages(function: Function, inputs: Sequence[Any]) -> Function:
    """Check the values of the inputs of a function, and show errors of the user as a message on the page."""

    @functools.wraps(function)
    def shown(*values: Any) -> Any:
        try:
            return function(*(checked(part, value) for part, value in zip(inputs, values, strict=True)))
        except (MemoryError, torch.OutOfMemoryError) as error:
            raise quiet_error(ValueError("there is not enough memory; use a shorter sound.")) from error
        except (ValueError, OSError) as error:
            raise quiet_error(error) from error

    return shown


def quiet_error(error: Exception) -> gr.Error:
    """Return an error for the page that is no traceback in the log of the server."""
    return gr.Error(message_of(error), duration=10, title=TITLE, print_exception=False)
