"""The picture shows the points of the map."""

import numpy as np
import pytest

from hf_audio_vae.evaluation.plots import figure_pixels
from hf_audio_vae.evaluation.sound_maps import map_figure
from tests.evaluation.sound_maps.maps import line_map

pytest.importorskip("matplotlib")


def test_each_point_is_drawn_in_the_group_of_its_class() -> None:
    sound_map = line_map()
    figure = map_figure(sound_map, "title")
    (axes,) = figure.axes
    coordinates = sound_map.projection.coordinates.numpy()
    for label, group in zip(sound_map.labels, axes.collections, strict=True):
        members = [index for index, clip in enumerate(sound_map.clips) if clip.label == label]
        np.testing.assert_array_equal(np.asarray(group.get_offsets()), coordinates[members])
    assert (axes.get_xlabel(), axes.get_ylabel()) == sound_map.projection.labels
    assert axes.get_aspect() == 1
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["a", "b", "without a class"]


def test_names_are_no_formulas_and_an_underscore_hides_none() -> None:
    figure = map_figure(line_map(("_a", "$x_1$", r"$\nowhere$", "b", "b")), r"$\nowhere$")
    figure_pixels(figure)
    assert {text.get_text() for text in figure.legends[0].get_texts()} == {"_a", "$x_1$", r"$\nowhere$", "b"}


def test_many_classes_leave_room_for_the_points() -> None:
    figure = map_figure(line_map([f"class {number:03d}" for number in range(100)]))
    names = [text.get_text() for text in figure.legends[0].get_texts()]
    assert len(names) == 40 and names[-1] == "and 61 more"
    assert figure_pixels(figure).shape[2] == 3


def test_without_classes_there_is_no_legend() -> None:
    assert not map_figure(line_map((None,) * 5)).legends
