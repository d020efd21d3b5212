"""The nearest others of each vector, against a search of all pairs one by one."""

import pytest
import torch

from hf_audio_vae.latents import nearest_neighbours
from hf_audio_vae.latents import neighbours as module

RANDOM = torch.Generator().manual_seed(0)


@pytest.mark.parametrize("block", [1, 1000, 1 << 24])  # a row at a time, a few, all
def test_neighbours_are_those_of_a_search_of_all_pairs(block: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "BLOCK", block)
    vectors = torch.randn(37, 6, generator=RANDOM)
    found = nearest_neighbours(vectors, 5)
    for index, vector in enumerate(vectors.double()):
        pairs = [(float((vector - other).norm()), i) for i, other in enumerate(vectors.double()) if i != index]
        expected = sorted(pairs)[:5]
        assert found.indices[index].tolist() == [i for _, i in expected]
        assert found.distances[index].tolist() == pytest.approx([distance for distance, _ in expected])


def test_an_equal_clip_is_the_nearest_at_distance_0_and_a_clip_is_not_its_own_neighbour() -> None:
    vectors = torch.tensor([[1e6, 0.0], [0.0, 0.0], [1e6, 0.0], [1e6, 1e-3]], dtype=torch.float64)
    found = nearest_neighbours(vectors, 3)
    assert found.indices[0].tolist() == [2, 3, 1] and found.indices[2].tolist() == [0, 3, 1]
    assert found.distances[0].tolist() == pytest.approx([0.0, 1e-3, 1e6])  # a matrix product would give 0 for 1e-3


def test_of_equal_distances_the_first_comes_first() -> None:
    vectors = torch.tensor([[0.0], [1.0], [-1.0], [1.0], [-1.0]])
    assert nearest_neighbours(vectors, 4).indices[0].tolist() == [1, 2, 3, 4]


@pytest.mark.parametrize("count", [0, 3, -1])
def test_a_count_out_of_range_is_refused(count: int) -> None:
    with pytest.raises(ValueError, match=rf"`count` is {count}; 3 vectors have 1 to 2"):
        nearest_neighbours(torch.zeros(3, 2), count)
