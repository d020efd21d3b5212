import pytest
import torch
from torch import Tensor

from hf_audio_vae.modules.quantization import Codebook


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=seeded(seed), dtype=torch.float64)


def codebook(size: int, dim: int, **options: object) -> Codebook:
    made = Codebook(size, dim, **options).double()
    made.vectors.data.copy_(noise(size, dim, seed=size))
    return made


def started(made: Codebook) -> Codebook:
    """As if it had learnt before: counts and sums that fit its vectors."""
    made.updates.fill_(1)
    made.counts.copy_(torch.linspace(1, 2, made.size, dtype=torch.float64))
    if made.learning == "ema":
        made.sums.copy_(made.vectors * made.counts[:, None])
    return made


def clusters(centres: Tensor, n: int, spread: float = 0.01) -> Tensor:
    which = torch.arange(n) % len(centres)
    return centres[which] + spread * noise(n, centres.shape[1], seed=9)


def every(x: Tensor) -> Tensor:
    return torch.ones(len(x), dtype=torch.bool)


def teach(made: Codebook, x: Tensor) -> None:
    made.learn(x, made.search(x)[0], every(x))


def test_codes_to_vectors_to_codes():
    for cosine in (False, True):
        made = codebook(128, 6, cosine=cosine)
        codes = torch.randperm(128, generator=seeded())
        assert torch.equal(made.search(made(codes))[0], codes)


def test_running_averages_follow_the_published_formula():
    made = started(codebook(10, 3, decay=0.9, restart_share=None))
    counts, sums = made.counts.clone(), made.sums.clone()
    for step in range(4):
        x = noise(40, 3, seed=20 + step)
        codes = made.search(x)[0]
        assert torch.equal(codes, torch.cdist(x, sums / counts[:, None]).argmin(dim=1))
        made.learn(x, codes, every(x))
        for code in range(10):  # van den Oord et al., 2017, eqs. 6 to 8
            chosen = x[codes == code]
            counts[code] = 0.9 * counts[code] + 0.1 * len(chosen)
            sums[code] = 0.9 * sums[code] + 0.1 * chosen.sum(dim=0)
        torch.testing.assert_close(made.counts, counts, rtol=1e-12, atol=0)
        torch.testing.assert_close(made.vectors, sums / counts[:, None], rtol=1e-12, atol=1e-14)
    assert made.updates == 5


def test_the_fourth_root_of_the_decay_keeps_the_memory_of_four_batches_in_a_step():
    x = noise(40, 3)
    one, four = (started(codebook(10, 3, decay=decay, restart_share=None)) for decay in (0.9, 0.9**0.25))
    codes = one.search(x)[0]
    one.learn(x, codes, every(x))
    for _ in range(4):
        four.learn(x, codes, every(x))
    torch.testing.assert_close(four.counts, one.counts, rtol=1e-12, atol=0)
    torch.testing.assert_close(four.vectors, one.vectors, rtol=1e-12, atol=1e-12)


def test_a_code_that_nothing_falls_to_stays_where_it_is_for_ever():
    made = started(Codebook(4, 2, decay=0.5, restart_share=None))
    made.vectors.copy_(torch.tensor([[0.0, 0], [1, 0], [0, 1], [100, 100]]))
    made.sums.copy_(made.vectors * made.counts[:, None])
    x = torch.rand(30, 2, generator=seeded())
    for _ in range(3000):  # far beyond where counts underflow
        teach(made, x)
    torch.testing.assert_close(made.vectors[3], torch.tensor([100.0, 100]), rtol=1e-4, atol=0)
    assert made.vectors.isfinite().all()


def test_a_gradient_codebook_counts_but_does_not_move():
    made = started(codebook(10, 3, learning="gradient", restart_share=None, decay=0.9))
    before, counts = made.vectors.detach().clone(), made.counts.clone()
    x = noise(40, 3)
    codes = made.search(x)[0]
    made.learn(x, codes, every(x))
    assert torch.equal(made.vectors, before)
    torch.testing.assert_close(made.counts, 0.9 * counts + 0.1 * torch.bincount(codes, minlength=10))
    assert isinstance(made.vectors, torch.nn.Parameter)
    assert [name for name, _ in codebook(10, 3).named_parameters()] == []


@pytest.mark.parametrize("learning", ["ema", "gradient"])
def test_dead_codes_and_no_others_are_put_onto_data_of_the_batch(learning):
    made = started(codebook(8, 3, learning=learning, decay=0.9, restart_share=0.25))
    made.counts.copy_(torch.tensor([4.0, 4, 4, 4, 4, 4, 0.1, 0.0]))
    if learning == "ema":
        made.sums.copy_(made.vectors * made.counts[:, None])
    made.vectors.data[6:] = 1000.0  # so that nothing is near
    before = made.vectors.detach().clone()
    x = noise(64, 3, seed=3)
    codes = made.search(x)[0]
    counts = 0.9 * made.counts + 0.1 * torch.bincount(codes, minlength=8)
    assert (counts[:6] >= 0.25 * counts.mean()).all()  # the rule: these live
    made.learn(x, codes, every(x))
    assert (made.vectors.detach()[6:, None] == x).all(dim=2).any(dim=1).all()
    assert not torch.equal(made.vectors[6], made.vectors[7])  # no row twice
    torch.testing.assert_close(made.counts[6:], counts.mean().expand(2))
    torch.testing.assert_close(made.counts[:6], counts[:6])
    if learning == "gradient":
        assert torch.equal(made.vectors.detach()[:6], before[:6])
    else:
        torch.testing.assert_close(made.sums[6:], made.vectors[6:] * counts.mean())


def test_without_a_share_nothing_is_restarted():
    made = started(codebook(8, 3, restart_share=None))
    made.counts[:4] = 0
    made.vectors[:4] = 1000.0
    teach(made, noise(64, 3))
    assert (made.vectors[:4] == 1000.0).all()


def test_kmeans_is_ten_of_lloyds_iterations():
    x = clusters(10 * noise(6, 4), 600, spread=3.0)
    made = codebook(6, 4)
    centres = made.vectors.clone()
    made.start(x)
    centres = x[torch.randperm(600, generator=seeded())[:6]]
    for _ in range(10):
        nearest = torch.cdist(x, centres).argmin(dim=1)
        centres = torch.stack([x[nearest == code].mean(dim=0) for code in range(6)])
    torch.testing.assert_close(made.vectors, centres, rtol=1e-12, atol=1e-12)
    assert torch.equal(made.counts, torch.bincount(nearest, minlength=6).double())
    torch.testing.assert_close(made.sums, made.vectors * made.counts[:, None])


def test_the_start_happens_once_and_waits_for_data():
    made = codebook(6, 4)
    made.start(noise(0, 4))
    assert made.updates == 0
    made.start(noise(100, 4))
    vectors = made.vectors.clone()
    made.start(noise(100, 4, seed=5))
    assert torch.equal(made.vectors, vectors)
    assert made.updates == 1


def test_a_start_without_kmeans_keeps_the_vectors():
    made = codebook(6, 4, kmeans_start=False)
    before = made.vectors.clone()
    made.start(noise(120, 4))
    assert torch.equal(made.vectors, before)
    assert torch.equal(made.counts, torch.full((6,), 20.0, dtype=torch.float64))
    teach(made, noise(0, 4))
    torch.testing.assert_close(made.vectors, before, rtol=1e-12, atol=1e-12)


def test_fewer_data_than_codes_start_it_all_the_same():
    made = codebook(50, 4)
    x = noise(7, 4)
    made.start(x)
    assert made.vectors.isfinite().all()
    assert torch.equal(made.search(x)[0].unique(), made.search(x)[0].sort().values)  # each datum has its own code
    assert len(made.vectors.unique(dim=0)) == 7


def test_what_does_not_count_teaches_nothing():
    x = noise(100, 3)
    loud = torch.cat([x, torch.full((5, 3), torch.nan, dtype=torch.float64), 1e200 * noise(5, 3)])
    plain, mixed = (started(codebook(8, 3, restart_share=0.9)) for _ in range(2))
    teach(plain, x)
    mixed.learn(loud, mixed.search(loud)[0], torch.arange(110) < 100)
    torch.testing.assert_close(plain.vectors, mixed.vectors, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(plain.counts, mixed.counts, rtol=1e-12, atol=0)


def test_equal_data_teach_equal_codebooks_whatever_the_random_state():
    made = [codebook(32, 3, restart_share=0.5) for _ in range(2)]
    for one in made:
        torch.rand(17)  # moves the global generator
        for step in range(3):
            x = noise(200, 3, seed=step)
            one.start(x)
            teach(one, x)
    assert torch.equal(made[0].vectors, made[1].vectors)


def test_wrong_numbers_are_refused():
    for wrong, message in (
        ({"size": 0}, "0 codes of 2 dimensions"),
        ({"learning": "hebb"}, "'hebb'.*'gradient' or by 'ema'"),
        ({"decay": 1.0}, r"`decay` is 1.0.*\[0, 1\)"),
        ({"restart_share": 0.0}, "`restart_share` is 0.0.*None for no restarts"),
    ):
        with pytest.raises(ValueError, match=message):
            Codebook(**{"size": 4, "dim": 2, **wrong})
