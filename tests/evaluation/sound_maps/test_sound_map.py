"""The content of maps whose points are known."""

import json
import random

import pytest
import torch

from hf_audio_vae.evaluation.sound_maps import MappedClip, SoundMap
from hf_audio_vae.evaluation.sound_maps.styles import COLORS, SHAPES, UNLABELLED, style_of
from hf_audio_vae.latents import Projection
from tests.evaluation.sound_maps.maps import POSITIONS, clips_of, line_map


def test_points_on_a_line_stay_on_a_line_in_units_of_their_deviation() -> None:
    sound_map = line_map()
    positions = torch.tensor(POSITIONS, dtype=torch.float64)
    expected = (positions - positions.mean()) / positions.std(correction=0) * 2**0.5  # of two equal dimensions
    coordinates = sound_map.projection.coordinates
    torch.testing.assert_close(coordinates[:, 0], expected)
    torch.testing.assert_close(coordinates[:, 1], torch.zeros(5).double(), atol=1e-12, rtol=0)
    assert sound_map.projection.shares == pytest.approx((1, 0))
    assert sound_map.neighbours.indices.tolist() == [[1, 2], [0, 2], [1, 0], [4, 2], [3, 2]]
    unit = 2**0.5 / positions.std(correction=0)
    torch.testing.assert_close(sound_map.neighbours.distances[:, 0], unit * positions.new_tensor([1, 1, 2, 2, 2]))


def test_numbers_are_those_of_the_map_and_survive_json() -> None:
    sound_map = line_map()
    numbers = json.loads(json.dumps(sound_map.numbers(), allow_nan=False))
    assert [point["coordinates"] for point in numbers["points"]] == sound_map.projection.coordinates.tolist()
    assert numbers["shares"] == list(sound_map.projection.shares or ())
    for index, point in enumerate(numbers["points"]):
        clip = sound_map.clips[index]
        assert {name: point[name] for name in ("path", "name", "label", "seconds")} == vars(clip)
        assert [near["index"] for near in point["neighbours"]] == sound_map.neighbours.indices[index].tolist()
        assert [near["distance"] for near in point["neighbours"]] == sound_map.neighbours.distances[index].tolist()
        assert [near["path"] for near in point["neighbours"]] == [
            sound_map.clips[other].path for other in sound_map.neighbours.indices[index].tolist()
        ]


def test_agreement_counts_nearest_neighbours_of_the_same_class() -> None:
    sound_map = line_map()
    # Of a, a, b, b, none: the nearest are a, a, a, none. Of the 16 pairs with a labelled first, 4 have one class.
    assert sound_map.agreement == pytest.approx((2 / 4, 4 / 16))
    assert line_map(("a",) * 5).agreement is None
    assert line_map(("a",) * 4 + (None,)).agreement is None


def test_agreement_of_random_classes_is_that_of_chance() -> None:
    labels = ["a"] * 600 + ["b"] * 300
    random.Random(0).shuffle(labels)
    vectors = torch.randn(900, 4, generator=torch.Generator().manual_seed(0))
    share, by_chance = SoundMap.of(clips_of(labels), vectors).agreement or (0, 0)
    # Four deviations of a share of 900.
    assert share == pytest.approx(by_chance, abs=4 * (5 / 9 * 4 / 9 / 900) ** 0.5)


def test_classes_that_are_numbers_are_in_their_order_and_no_class_is_last() -> None:
    assert line_map((None, "10", "9", "flute", "-1.5", "alto")).labels == ("-1.5", "9", "10", "alto", "flute", None)


def test_there_are_at_most_as_many_neighbours_as_other_clips() -> None:
    assert line_map(count=99).neighbours.indices.shape == (5, 4)


def test_another_projection_has_other_points_and_the_same_neighbours() -> None:
    def project(vectors: torch.Tensor) -> Projection:
        return Projection(vectors.flip(1), ("x", "y"))

    vectors = torch.randn(9, 2, generator=torch.Generator().manual_seed(0))
    clips = [MappedClip("p", "n", None, 1.0)] * 9
    other, pca = SoundMap.of(clips, vectors, project=project), SoundMap.of(clips, vectors)
    assert other.numbers()["axes"] == ["x", "y"] and other.numbers()["shares"] is None
    assert torch.equal(other.neighbours.distances, pca.neighbours.distances)
    with pytest.raises(ValueError, match="9 clips and 8 vectors"):
        SoundMap.of(clips, vectors[:8])


def test_styles_repeat_only_after_all_colours_and_shapes() -> None:
    count = len(COLORS) * len(SHAPES)
    styles = [style_of(number, "class") for number in range(count + 1)]
    assert len(set(styles)) == count and styles[count] == styles[0]
    assert style_of(3, None).color == UNLABELLED not in COLORS


@pytest.mark.parametrize("color", [*COLORS, UNLABELLED])
@pytest.mark.parametrize("background", ["#ffffff", "#14161a"])
def test_points_stand_out_from_both_backgrounds(color: str, background: str) -> None:
    darker, lighter = sorted((luminance(color), luminance(background)))
    assert (lighter + 0.05) / (darker + 0.05) >= 3  # WCAG 2.2, 1.4.11


def luminance(color: str) -> float:
    """Relative luminance of WCAG 2.2."""
    channels = [int(color[start : start + 2], 16) / 255 for start in (1, 3, 5)]
    linear = [value / 12.92 if value <= 0.04045 else ((value + 0.055) / 1.055) ** 2.4 for value in channels]
    return sum(weight * value for weight, value in zip((0.2126, 0.7152, 0.0722), linear, strict=True))
