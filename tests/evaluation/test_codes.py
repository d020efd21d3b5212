import math

import pytest
import torch
from torch import Tensor

from hf_audio_vae.evaluation import CodeStatistics, usage_warning

RATE = 50.0


class Hierarchy:
    """The rates of a model with three levels."""

    codebook_sizes = (16, 16, 8)
    codebook_hop_lengths = (8, 32, 128)
    sampling_rate = 1024


def codes(size: int = 16, num_codebooks: int = 3, batch: int = 4, frames: int = 60, seed: int = 0) -> Tensor:
    """Skewed codes, a different skew in each codebook."""
    generator = torch.Generator().manual_seed(seed)
    weights = torch.arange(1, size + 1).double() ** -torch.arange(num_codebooks)[:, None].double()
    drawn = torch.multinomial(weights, batch * frames, replacement=True, generator=generator)
    return drawn.unflatten(1, (batch, frames)).transpose(0, 1)


def statistics(*batches: Tensor, size: int = 16) -> CodeStatistics:
    measured = CodeStatistics((size,) * batches[0].shape[1], (RATE,) * batches[0].shape[1])
    for batch in batches:
        measured.add(batch)
    return measured


def repeated(*counts: int) -> Tensor:
    """Code i as often as the i-th count says, (1, 1, frames)."""
    return torch.arange(len(counts)).repeat_interleave(torch.tensor(counts))[None, None]


def test_the_figures_of_codes_that_can_be_counted_by_hand():
    # Of 8 codes: 0 half of the time, 1 a quarter, 2 and 5 an eighth each: 1.75 bits; and always code 7: 0 bits.
    skewed = torch.tensor([0, 0, 0, 0, 1, 1, 2, 5])
    measured = statistics(torch.stack([skewed, torch.full((8,), 7)])[None], size=8)
    assert [counts.tolist() for counts in measured.counts] == [[4, 2, 1, 0, 0, 1, 0, 0], [0] * 7 + [8]]
    assert {name: values.tolist() for name, values in measured.by_codebook().items()} == {
        "frames": [8, 8],
        "perplexity": pytest.approx([2**1.75, 1.0], rel=1e-12),
        "usage": [0.5, 0.125],
        "dead_codes": [4, 7],
        "entropy_bits": pytest.approx([1.75, 0.0], abs=1e-12),
        "efficiency": pytest.approx([1.75 / 3, 0.0], abs=1e-12),
        "nominal_bits_per_second": [150.0, 150.0],
        "entropy_bits_per_second": pytest.approx([87.5, 0.0], abs=1e-10),
    }
    assert measured.summary() == pytest.approx(
        {
            "nominal_bits_per_second": 300.0,
            "entropy_bits_per_second": 87.5,
            "bitrate_efficiency": 1.75 / 6,
            "mean_perplexity": (2**1.75 + 1) / 2,
            "lowest_usage": 0.125,
            "dead_codes": 11.0,
            "frames_per_code": 1.0,
        },
        rel=1e-12,
    )


@pytest.mark.parametrize("size", [2, 3, 1000, 1024, 64_000])
def test_equally_frequent_codes_use_every_bit(size):
    measured = statistics(torch.arange(size).repeat(2)[None, None], size=size)
    assert measured.perplexity.item() == pytest.approx(size, rel=1e-12)
    assert measured.efficiency.item() == pytest.approx(1, rel=1e-12)
    assert measured.entropy_bits_per_second.item() == pytest.approx(RATE * math.log2(size), rel=1e-12)
    assert measured.usage.tolist() == [1.0]
    assert measured.dead_codes.tolist() == [0]


@pytest.mark.parametrize("size", [4, 10, 40])
def test_geometric_frequencies_have_the_entropy_of_the_formula(size):
    # Shares 1/2, 1/4, ..., the last twice: sum of k 2^-k to n - 1, and (n - 1) 2^-(n - 1), is 2 - 2^-(n - 2).
    measured = CodeStatistics((size,), (RATE,))
    measured._counts = [torch.tensor([2 ** (size - 2 - k) for k in range(size - 1)] + [1])]
    assert measured.entropy_bits.item() == pytest.approx(2 - 2.0 ** -(size - 2), rel=1e-12)


def test_few_frames_bound_what_a_codebook_can_show():
    measured = statistics(torch.arange(10)[None, None], size=1024)
    assert measured.usage.item() == 10 / 1024
    assert measured.perplexity.item() == pytest.approx(10)
    assert measured.summary()["frames_per_code"] == 10 / 1024


@pytest.mark.parametrize("lengths", [[60], [1] * 60, [59, 1], [3, 20, 7, 30]])
def test_how_the_codes_are_split_does_not_matter(lengths):
    whole = codes()
    pieces = [piece for item in whole for piece in item[None].split(lengths, dim=-1)]
    measured, expected = statistics(*pieces), statistics(whole)
    assert all(map(torch.equal, measured.counts, expected.counts))
    assert measured.summary() == expected.summary()
    assert measured.frames.tolist() == [240] * 3
    merged = CodeStatistics((16,) * 3, (RATE,) * 3)
    for piece in pieces:
        merged.add_state_dict(statistics(piece).state_dict())
    assert merged.summary() == expected.summary()


def test_the_order_and_the_names_of_codes_do_not_matter():
    whole = codes()
    renamed = torch.randperm(16, generator=torch.Generator().manual_seed(1))[whole].flip(-1)
    assert statistics(renamed).entropy_bits.tolist() == pytest.approx(statistics(whole).entropy_bits.tolist())


def test_counts_stay_exact_where_float32_does_not():
    measured = CodeStatistics((4,), (RATE,))
    measured._counts = [torch.tensor([2**24, 0, 0, 2**53])]
    measured.add(repeated(1))
    measured.add(repeated(0, 0, 0, 1))
    assert measured.counts[0].tolist() == [2**24 + 1, 0, 0, 2**53 + 1]


def test_frames_under_the_mask_are_all_that_count():
    whole = codes()
    mask = torch.arange(60) < torch.tensor([60, 1, 30, 0])[:, None]
    spoiled = whole.where(mask[:, None], 15)
    measured = CodeStatistics((16,) * 3, (RATE,) * 3)
    measured.add(spoiled, mask)
    expected = statistics(whole[:1], whole[1:2, :, :1], whole[2:3, :, :30])
    assert all(map(torch.equal, measured.counts, expected.counts))
    assert measured.frames.tolist() == [91] * 3


def test_levels_count_by_their_own_frame_rates():
    measured = CodeStatistics.of(Hierarchy())
    assert measured.frame_rates == (128.0, 32.0, 8.0)
    fine, middle, coarse = torch.arange(16), torch.zeros(4, dtype=torch.int64), torch.tensor([3])
    measured.add((fine[None, None], middle[None, None], coarse[None, None]))
    assert measured.frames.tolist() == [16, 4, 1]
    assert measured.nominal_bits_per_second.tolist() == [512.0, 128.0, 24.0]
    assert measured.entropy_bits_per_second.tolist() == pytest.approx([512, 0, 0], abs=1e-9)
    assert measured.bitrate_efficiency == pytest.approx(512 / 664)
    assert measured.summary()["frames_per_code"] == 1 / 8


def test_every_level_has_its_own_mask():
    measured = CodeStatistics.of(Hierarchy())
    levels = [torch.zeros(2, 1, frames, dtype=torch.int64) for frames in (16, 4, 1)]
    masks = [torch.arange(frames) < torch.tensor([frames, frames // 2])[:, None] for frames in (16, 4, 1)]
    measured.add(levels, masks)
    assert measured.frames.tolist() == [24, 6, 1]


def test_one_rate_is_that_of_every_codebook():
    class Residual:
        codebook_sizes, codebook_hop_lengths, sampling_rate = (8, 8), (10, 10), 1000

    assert CodeStatistics.of(Residual()).frame_rates == (100.0, 100.0)


def test_uniform_draws_show_the_usage_that_is_expected_of_them():
    drawn = torch.randint(1000, (1, 20, 700), generator=torch.Generator().manual_seed(0))
    measured = statistics(drawn, size=1000)
    assert measured.uniform_usage.tolist() == pytest.approx([1 - 0.999**700] * 20, rel=1e-12)
    assert measured.usage.mean().item() == pytest.approx(1 - 0.999**700, abs=0.01)


def used(number: int, size: int = 16, rounds: int = 100) -> Tensor:
    """(1, 1, frames): the first `number` of the codes, often."""
    return torch.arange(number).repeat(rounds * size // number + 1)[None, None, : rounds * size]


def test_a_collapse_is_told_in_one_line_with_what_to_change():
    message = usage_warning(statistics(torch.cat([used(16), used(3), used(7)], dim=1)), 0.5) or "silence"
    assert "2 of 3 codebooks" in message
    assert "codebook 1 (3 of 16 codes), 2 (7 of 16 codes)" in message
    assert "share of 0.5" in message
    assert all(f"`{option}`" in message for option in ("restart_share", "kmeans_start", "codebook_dim"))
    assert "\n" not in message


@pytest.mark.parametrize(
    ("number", "share", "speaks"),
    [(8, 0.5, False), (7, 0.5, True), (1, 0.0, False), (15, 1.0, True), (16, 1.0, False)],
)
def test_the_warning_speaks_under_the_share_that_is_wanted(number, share, speaks):
    assert (usage_warning(statistics(used(number)), share) is not None) == speaks


def test_a_usage_of_exactly_the_required_share_raises_no_alarm():
    statistics = CodeStatistics((2,), (50.0,))
    statistics.add(torch.zeros(1, 1, 1, dtype=torch.int64))
    assert statistics.usage.item() == float(statistics.uniform_usage) == 0.5
    assert usage_warning(statistics, 1.0) is None


def test_few_frames_alone_raise_no_alarm():
    # 100 frames cannot show half of 1024 codes; 100 frames of 20 codes are still a collapse.
    drawn = torch.randint(1024, (1, 1, 100), generator=torch.Generator().manual_seed(0))
    assert usage_warning(statistics(drawn, size=1024), 0.5) is None
    assert "for finite scalar quantization, fewer levels" in (
        usage_warning(statistics(used(20), size=1024), 0.5) or "silence"
    )
    assert "20 of 1024" in (usage_warning(statistics(used(20)[..., :100], size=1024), 0.5) or "silence")


@pytest.mark.parametrize("share", [-0.1, 1.1, 50.0, math.nan])
def test_a_share_that_is_none_is_refused(share):
    with pytest.raises(ValueError, match="from 0 to 1"):
        usage_warning(statistics(codes()), share)


@pytest.mark.parametrize(
    ("sizes", "rates", "message"),
    [
        ((), (), "`codebook_sizes` is ()"),
        ((4, 1), (1.0, 1.0), "each of 2 codes or more"),
        ((4, 4), (1.0,), "for 2 codebooks"),
        ((4,), (0.0,), "positive"),
        ((4,), (math.nan,), "positive"),
        ((4,), (math.inf,), "positive"),
    ],
)
def test_codebooks_that_cannot_be_are_refused(sizes, rates, message):
    with pytest.raises(ValueError) as error:
        CodeStatistics(sizes, rates)
    assert message in str(error.value)


@pytest.mark.parametrize("figure", ["counts", "perplexity", "usage", "summary", "by_codebook"])
def test_nothing_is_said_of_no_codes(figure):
    measured = CodeStatistics((4,), (RATE,))
    with pytest.raises(ValueError, match="`add` those of at least one batch"):
        value = getattr(measured, figure)
        value()
    assert measured.frames.tolist() == [0]


MASK = torch.ones(4, 60, dtype=torch.bool)


@pytest.mark.parametrize(
    ("bad", "mask", "message"),
    [
        (codes(num_codebooks=2), None, "2 codebooks, the model has 3"),
        (codes().clone().index_fill_(2, torch.tensor(5), 16), None, r"lie in \[0, 16\].*codes 0 to 15"),
        (codes().clone().index_fill_(1, torch.tensor(2), -1), None, r"codebook 2 lie in \[-1, -1\]"),
        (codes()[0], None, r"shape \(3, 60\)"),
        (codes().float(), None, "torch.float32"),
        (codes().int(), None, "torch.int32"),
        (codes()[..., :0], None, "at least one frame"),
        (codes(), MASK[:, :59], r"`mask` is torch.bool of shape \(4, 59\)"),
        (codes(), MASK.long(), "`mask` is torch.int64"),
        (codes(), ~MASK, "True in at least one place"),
        ([codes(num_codebooks=1)] * 3, [MASK], "1 masks for 3 levels"),
    ],
)
def test_codes_that_are_refused_leave_no_trace(bad, mask, message):
    measured = statistics(codes())
    with pytest.raises(ValueError, match=message):
        measured.add(bad, mask)
    assert measured.summary() == statistics(codes()).summary()
