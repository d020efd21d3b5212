"""Codebooks of two processes that see different data."""

from pathlib import Path

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as multiprocessing

from hf_audio_vae.modules.quantization import Codebook, ResidualVectorQuantizer, VectorQuantizer
from hf_audio_vae.modules.quantization.processes import draw_over_processes

pytestmark = pytest.mark.slow


def latents(rank: int, step: int) -> torch.Tensor:
    return (1 + 2 * rank) * torch.randn(2, 4, 50, generator=torch.Generator().manual_seed(10 * step + rank))


PLAIN = {"restart_share": None, "kmeans_start": False}  # nothing is drawn
OPTIONS = {
    "averages": {"learning": "ema", **PLAIN},
    "k-means": {"learning": "ema", "restart_share": None},
    "restarts": {"learning": "ema", "restart_share": 0.9, "decay": 0.5},
    "gradient": {"learning": "gradient", "restart_share": 0.5},
}


def quantizer(name: str) -> ResidualVectorQuantizer:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        codebooks = [Codebook(24, 4, **OPTIONS[name]) for _ in range(2)]
        return ResidualVectorQuantizer([VectorQuantizer(4, codebook) for codebook in codebooks]).train()


def run(rank: int, folder: str) -> None:
    dist.init_process_group("gloo", init_method=f"file://{folder}/meeting", rank=rank, world_size=2)
    states = {}
    for name in OPTIONS:
        made = quantizer(name)
        for step in range(4):
            made(latents(rank, step))
        states[name] = made.state_dict()
    mine = torch.full((5, 2), float(rank)) if rank else torch.zeros(0, 2)
    rows = draw_over_processes(mine, 4, seed=0)
    dist.destroy_process_group()
    torch.save({"states": states, "rows": rows}, f"{folder}/{rank}.pt")


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> list[dict]:
    folder: Path = tmp_path_factory.mktemp("processes")
    multiprocessing.spawn(run, (str(folder),), nprocs=2)
    return [torch.load(folder / f"{rank}.pt") for rank in (0, 1)]


@pytest.mark.parametrize("options", OPTIONS)
def test_two_processes_end_with_identical_codebooks(found, options):
    mine, theirs = (result["states"][options] for result in found)
    assert all(torch.equal(value, theirs[name]) for name, value in mine.items())


def test_they_equal_those_of_one_process_with_both_batches(found):
    made = quantizer("averages")
    for step in range(4):
        made(torch.cat([latents(0, step), latents(1, step)]))
    for name, value in made.state_dict().items():
        torch.testing.assert_close(found[0]["states"]["averages"][name], value, rtol=1e-5, atol=1e-5)


def test_start_and_restarts_are_over_the_data_of_both(found):
    counts = found[0]["states"]["k-means"]["quantizers.0.codebook.counts"]
    torch.testing.assert_close(counts.sum(), torch.tensor(200.0), rtol=1e-5, atol=0)
    vectors = found[0]["states"]["restarts"]["quantizers.0.codebook.vectors"]
    for rank in (0, 1):  # the last step's restarts stand where that process's latents are
        rows = latents(rank, 3).transpose(1, 2).flatten(0, 1)
        assert (vectors[:, None] == rows).all(dim=2).any()


def test_a_process_without_rows_gives_none(found):
    for result in found:
        rows, there = result["rows"]
        assert there.tolist() == [False, True, False, True]
        assert torch.equal(rows[there], torch.ones(2, 2))
