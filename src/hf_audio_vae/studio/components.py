"""Parts of the tabs: players, menus, and buttons that report errors as messages."""

import functools
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import gradio as gr

Function = Callable[..., Any]


def sound_input(label: str, elem_id: str, value: str | None = None) -> gr.Audio:
    """Return a player that accepts a file or a recording."""
    return gr.Audio(
        value, label=label, elem_id=elem_id, sources=["upload", "microphone"], type="filepath", buttons=["download"]
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


def run_on(
    trigger: Function | Sequence[Function], function: Function, inputs: Sequence[Any], outputs: Sequence[Any]
) -> None:
    """Call a function on an event. Functions run one after another, since each may need all memory."""
    gr.on(
        trigger,
        with_messages(function),
        list(inputs),
        list(outputs),
        concurrency_limit=1,
        concurrency_id="models",
        api_name=function.__name__,
    )


def with_messages(function: Function) -> Function:
    """Show errors of the user as a message on the page."""

    @functools.wraps(function)
    def shown(*arguments: Any) -> Any:
        try:
            return function(*arguments)
        except (ValueError, OSError) as error:
            raise gr.Error(str(error), duration=10, title="This does not work") from error

    return shown
