"""The picture of a map."""

from typing import TYPE_CHECKING

import numpy as np

from hf_audio_vae.evaluation.sound_maps.sound_map import SoundMap
from hf_audio_vae.evaluation.sound_maps.styles import style_of

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MARKERS = {"circle": "o", "square": "s", "triangle": "^", "diamond": "D", "cross": "X"}
MAX_LEGEND = 40  # classes that the height of the picture has room for


def map_figure(sound_map: SoundMap, title: str = "") -> "Figure":
    """Draw the points of a map, by class if there are classes.

    Args:
        sound_map (`SoundMap`): The map.
        title (`str`): Title of the figure.

    Returns:
        `matplotlib.figure.Figure`: One scale for both axes, which name their share of the variance.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 6.5), layout="constrained")
    axes = figure.subplots()
    coordinates = sound_map.projection.coordinates.numpy()
    labels = sound_map.labels
    handles = []
    for number, label in enumerate(labels):
        members = np.array([clip.label == label for clip in sound_map.clips])
        style, (x, y) = style_of(number, label), coordinates[members].T
        handles.append(
            axes.scatter(
                x,
                y,
                s=36 if len(coordinates) < 500 else 12,
                color=style.color,
                marker=MARKERS[style.shape],
                edgecolors="white",
                linewidths=0.5,
            )
        )
    if labels != (None,):
        names = ["without a class" if label is None else label for label in labels]
        if len(names) > MAX_LEGEND:
            names = [*names[: MAX_LEGEND - 1], f"and {len(names) - MAX_LEGEND + 1} more"]
        legend = figure.legend(handles[: len(names)], ["x"] * len(names), loc="outside right upper", fontsize="small")
        for text, name in zip(legend.get_texts(), names, strict=True):
            text.set_parse_math(False)
            text.set_text(name)  # as it is: a legend would leave out a label that begins with an underscore
    first, second = sound_map.projection.labels
    axes.set(xlabel=first, ylabel=second)
    axes.set_aspect("equal", adjustable="datalim")
    axes.grid(alpha=0.2)
    figure.suptitle(title, parse_math=False)
    return figure
