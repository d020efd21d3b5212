import pytest
import torch
from torch import Tensor

from hf_audio_vae.modules.quantization.search import BLOCK, GROUP, nearest
from tests.memory import working_bytes


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def noise(*shape: int, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(*shape, generator=seeded(), dtype=dtype)


@pytest.mark.parametrize("size", [1, 7, GROUP, 3 * GROUP, 3 * GROUP + 1])
@pytest.mark.parametrize("n", [1, BLOCK, BLOCK + 1])
def test_finds_what_all_distances_say(size, n):
    x, vectors = noise(n, 5), noise(size, 5).flip(0)
    found, finite = nearest(x, vectors)
    distances = (x[:, None] - vectors[None]).square().sum(dim=2)
    assert torch.equal(found, distances.argmin(dim=1))
    assert finite.all()


@pytest.mark.parametrize("size", [7, 2 * GROUP])
def test_by_angle_lengths_count_for_nothing(size):
    x, vectors = noise(50, 5), noise(size, 5).flip(0)
    angles = torch.nn.functional.cosine_similarity(x[:, None], vectors[None], dim=2)
    expected = angles.argmax(dim=1)
    assert torch.equal(nearest(x, vectors, cosine=True)[0], expected)
    longer = vectors * torch.linspace(0.1, 10, size, dtype=torch.float64)[:, None]
    assert torch.equal(nearest(100 * x, longer, cosine=True)[0], expected)
    assert not torch.equal(nearest(x, longer)[0], expected)


class Search(torch.nn.Module):
    def forward(self, x: Tensor, vectors: Tensor) -> Tensor:
        return nearest(x, vectors)[0]


def test_an_exported_search_takes_any_number_of_vectors():
    vectors, many = noise(7, 5), torch.export.Dim("many", min=2)
    exported = torch.export.export(Search(), (noise(2 * BLOCK + 1, 5), vectors), dynamic_shapes=({0: many}, None))
    for n in (2, BLOCK, 3 * BLOCK + 1):
        x = noise(n, 5)
        assert torch.equal(exported.module()(x, vectors), nearest(x, vectors)[0])


@pytest.mark.parametrize("size", [12, 4 * GROUP])
def test_of_equally_near_vectors_the_first_is_taken(size):
    half = noise(size // 2, 3).round()  # integers: scores without rounding
    x = noise(200, 3).round()
    found, _ = nearest(x, torch.cat([half, half]))
    distances = (x[:, None] - half[None]).square().sum(dim=2)
    assert torch.equal(distances[torch.arange(200), found], distances.amin(dim=1))
    assert torch.equal(found, (distances == distances.amin(dim=1, keepdim=True)).int().argmax(dim=1))
    assert torch.equal(nearest(x, torch.ones(size, 3, dtype=torch.float64))[0], torch.zeros(200, dtype=torch.int64))


@pytest.mark.parametrize("size", [10, GROUP])
@pytest.mark.parametrize("bad", [torch.nan, torch.inf, -torch.inf])
def test_what_is_not_finite_is_told_by_row(size, bad):
    x = noise(5, 4)
    x[3, 1] = bad
    assert nearest(x, noise(size, 4))[1].tolist() == [True, True, True, False, True]


def test_half_precision_is_searched_in_float32_also_under_autocast():
    # neighbours that bfloat16 scores cannot tell apart
    vectors = torch.stack([torch.full((8,), 100.0), torch.full((8,), 100.5)]).repeat_interleave(32, 0).bfloat16()
    x = torch.full((3, 8), 100.5).bfloat16()
    assert nearest(x, vectors)[0].tolist() == [32, 32, 32]
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert nearest(x.float(), vectors.float())[0].tolist() == [32, 32, 32]


def test_all_scores_are_never_in_memory_at_once():
    vectors = noise(4096, 8, dtype=torch.float32)

    class Search(torch.nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return nearest(x, vectors)[0]

    few, many = (working_bytes(Search(), noise(n, 8, dtype=torch.float32)) for n in (2 * BLOCK, 20 * BLOCK))
    results = 18 * BLOCK * 2 * (8 + 4 + 1)  # indices, scores and their finiteness, in pieces and joined
    assert many - few <= results < 18 * BLOCK * 4096 * 4 / 100
