"""What holds for every quantizer, and the formulas of plain and residual ones."""

import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hf_audio_vae.modules.quantization import (
    Codebook,
    FiniteScalarQuantizer,
    ResidualVectorQuantizer,
    VectorQuantizer,
)
from tests.modules.quantization.quantizers import CHANNELS, dac, latents, randomized, rvq, seeded, vq

KINDS = {
    "plain": lambda: vq(),
    "plain, projected": lambda: vq(2),
    "plain, by gradient": lambda: vq(learning="gradient"),
    "plain, by angle": lambda: vq(cosine=True),
    "plain, rotation": lambda: vq(2, rotation=True),
    "residual": lambda: rvq(),
    "residual, projected": lambda: rvq(dim=2),
    "residual, as DAC": dac,
    "residual, groups of codes": lambda: rvq(2, size=128),
    "finite scalar": lambda: FiniteScalarQuantizer(CHANNELS, (8, 5, 5, 3)),
    "finite scalar, as many levels as channels": lambda: FiniteScalarQuantizer(CHANNELS, (3, 3, 4, 5, 6, 7)),
}
every_kind = pytest.mark.parametrize("kind", KINDS)


@every_kind
def test_three_ways_agree(kind):
    quantizer = randomized(KINDS[kind]()).eval()
    x = latents()
    output = quantizer(x)
    codes = quantizer.encode(x)
    assert codes.dtype == torch.int64
    assert codes.shape == (3, len(quantizer.codebook_sizes), 20)
    assert torch.equal(output.codes, codes)
    assert torch.equal(output.quantized, quantizer.decode(codes))
    for q, size in enumerate(quantizer.codebook_sizes):
        assert 0 <= codes[:, q].min() <= codes[:, q].max() < size
    assert len(codes.unique()) > 3


@every_kind
def test_evaluation_changes_nothing(kind):
    quantizer = randomized(KINDS[kind]()).eval()
    before = {name: value.clone() for name, value in quantizer.state_dict().items()}
    quantizer(latents())
    quantizer.encode(latents())
    assert all(torch.equal(before[name], value) for name, value in quantizer.state_dict().items())


@every_kind
def test_latents_that_are_not_finite_have_no_code(kind):
    quantizer = randomized(KINDS[kind]()).eval()
    for bad in (torch.nan, torch.inf, -torch.inf):
        x = latents()
        x[1, 2, 3] = bad
        with pytest.raises(ValueError, match="1 of 60 latent vectors are NaN or infinite.*encode in float32"):
            quantizer.encode(x)
        output = quantizer(x)  # training goes on to see a loss that is not finite
        values = list(output.losses.values()) or [output.quantized.sum()]
        assert all(value.isnan() for value in values)


@every_kind
def test_only_so_many_codebooks_as_there_are(kind):
    quantizer = randomized(KINDS[kind]()).eval()
    count = len(quantizer.codebook_sizes)
    for wrong in (0, count + 1):
        for call in (quantizer.encode, quantizer):
            with pytest.raises(ValueError, match=f"`num_codebooks` is {wrong}.*1 to {count}"):
                call(latents(), num_codebooks=wrong)


@every_kind
def test_padding_teaches_and_costs_nothing(kind):
    """The same valid frames with other padding: equal losses, equal codebooks."""
    mask = torch.arange(20) < torch.tensor([20, 13, 5])[:, None]
    results = []
    for seed in (1, 2):
        quantizer = randomized(KINDS[kind]()).train()
        padded = torch.where(mask[:, None], latents(), 10 * latents(seed=seed))
        output = quantizer(padded, mask)
        results.append((output.losses, {name: value.clone() for name, value in quantizer.named_buffers()}))
    for one, other in zip(*results, strict=True):
        assert one.keys() == other.keys()
        for name in one:
            torch.testing.assert_close(one[name], other[name], rtol=1e-12, atol=1e-12)


@every_kind
def test_padding_does_not_count_for_a_codebooks_start(kind):
    mask = torch.arange(20) < torch.tensor([20, 13, 5])[:, None]
    states = []
    for seed in (1, 2):
        with torch.random.fork_rng():
            torch.manual_seed(0)
            quantizer = KINDS[kind]().double().train()
        quantizer(torch.where(mask[:, None], latents(), 10 * latents(seed=seed)), mask)
        states.append(quantizer.state_dict())
    for name in states[0]:
        torch.testing.assert_close(states[0][name], states[1][name], rtol=1e-12, atol=1e-12)


def reference(quantizer: VectorQuantizer, x: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Quantized, commitment and codebook loss as the papers write them, and the codes; straight through."""
    rows = quantizer.in_proj(x).transpose(1, 2)  # (batch, frames, dim)
    vectors = quantizer.codebook.vectors
    if quantizer.codebook.cosine:
        distances = torch.cdist(F.normalize(rows, dim=2), F.normalize(vectors, dim=1).expand(len(x), -1, -1))
    else:
        distances = torch.cdist(rows, vectors.expand(len(x), -1, -1))
    codes = distances.argmin(dim=2)
    chosen = vectors[codes]
    commitment = (rows - chosen.detach()).square().mean()
    codebook = (chosen - rows.detach()).square().mean()
    passed = rows + (chosen - rows).detach()
    return quantizer.out_proj(passed.transpose(1, 2)), commitment, codebook, codes


@pytest.mark.parametrize("cosine", [False, True])
@pytest.mark.parametrize("dim", [CHANNELS, 2])
def test_gradients_of_vector_quantization_match_the_written_out_formulas(dim, cosine):
    gradients = []
    weight = latents(seed=5)
    for written_out in (False, True):
        quantizer = randomized(vq(dim, cosine=cosine, learning="gradient", restart_share=None)).train()
        x = latents().requires_grad_()
        if written_out:
            quantized, commitment, codebook, codes = reference(quantizer, x)
        else:
            output = quantizer(x)
            quantized, codes = output.quantized, output.codes[:, 0]
            commitment, codebook = output.losses["commitment"], output.losses["codebook"]
        ((quantized * weight).sum() + 0.7 * commitment + 1.3 * codebook).backward()
        found = {name: p.grad for name, p in quantizer.named_parameters()} | {"latents": x.grad, "codes": codes}
        gradients.append(found)
    assert gradients[0].keys() == gradients[1].keys()
    for name in gradients[0]:
        torch.testing.assert_close(gradients[0][name], gradients[1][name], rtol=1e-11, atol=1e-12)
    assert all(value.any() for value in gradients[0].values())


@pytest.mark.parametrize(
    "make", [rvq, lambda: rvq(dim=2, learning="gradient"), dac], ids=["plain", "projected", "dac"]
)
def test_residual_quantization_is_one_after_the_other(make):
    gradients = []
    weight = latents(seed=5)
    for written_out in (False, True):
        quantizer = randomized(make()).train()
        for module in quantizer.quantizers:
            module.codebook.restart_share = None
        x = latents().requires_grad_()
        if written_out:
            residual, total, loss, codes = x, 0.0, 0.0, []
            for stage in quantizer.quantizers:
                quantized, commitment, codebook, code = reference(stage, residual)
                # Without projections the residual's own gradient would be that of x - x: it is kept out.
                residual = residual - (quantized if quantizer.projecting else quantized.detach())
                total = total + quantized
                loss = loss + commitment + (codebook if stage.codebook.learning == "gradient" else 0)
                codes.append(code)
            codes = torch.stack(codes, dim=1)
            if not quantizer.projecting:
                total = x + (total - x).detach()
        else:
            output = quantizer(x)
            total, codes, loss = output.quantized, output.codes, sum(output.losses.values())
        ((total * weight).sum() + loss).backward()
        gradients.append({name: p.grad for name, p in quantizer.named_parameters()} | {"x": x.grad, "codes": codes})
    for name in gradients[0]:
        torch.testing.assert_close(gradients[0][name], gradients[1][name], rtol=1e-10, atol=1e-11)


def test_every_codebook_teaches_the_encoder():
    norms = []
    for count in (1, 2, 3, 4):
        x = latents().requires_grad_()
        losses = randomized(rvq(count, restart_share=None)).train()(x).losses
        losses["commitment"].backward()
        norms.append(x.grad.norm().item())
    assert norms == sorted(norms)
    assert norms[3] > 1.2 * norms[0]


@pytest.mark.parametrize("dim", [2, CHANNELS])
def test_the_gradient_by_rotation_does_not_grow_from_codebook_to_codebook(dim):
    stages = [vq(dim, rotation=True, restart_share=None) for _ in range(8)]
    quantizer = randomized(ResidualVectorQuantizer(stages)).train()
    for q, stage in enumerate(quantizer.quantizers):
        stage.codebook.vectors.mul_(0.7**q)
    for projection in (module for module in quantizer.modules() if hasattr(module, "weight_g")):
        projection.weight_g.data.fill_(1)
    x, weight = latents().requires_grad_(), latents(seed=5)
    (quantizer(x).quantized * weight).sum().backward()
    assert x.grad.norm() < 10 * weight.norm()


def test_a_latent_that_explodes_teaches_nothing():
    for make in (vq, lambda: rvq(restart_share=0.9), dac):
        quantizer = randomized(make()).float().train()
        x = latents(dtype=torch.float32)
        x[1, :, 3] = 1e25
        losses = quantizer(x).losses
        assert not any(value.isfinite() for value in losses.values())
        assert all(bool((value.abs() < 1e4).all()) for value in quantizer.state_dict().values())


@pytest.mark.parametrize("count", [2, 9])  # all their dimensions together are as many as the latents', or more
def test_residual_codes_are_those_of_the_plain_formula_in_the_few_dimensions_too(count):
    quantizer = randomized(dac(count)).eval()
    x = latents(frames=200)
    residual, expected = x, []
    for stage in quantizer.quantizers:
        quantized, *_, code = reference(stage, residual)
        residual = residual - quantized
        expected.append(code)
    assert torch.equal(quantizer.encode(x), torch.stack(expected, dim=1))


def test_fewer_codebooks_are_the_first_ones():
    for make in (rvq, dac):
        quantizer = randomized(make()).eval()
        codes = quantizer.encode(latents())
        for count in (1, 2, 3):
            assert torch.equal(quantizer.encode(latents(), num_codebooks=count), codes[:, :count])
            output = quantizer(latents(), num_codebooks=count)
            assert torch.equal(output.codes, codes[:, :count])
            assert torch.equal(output.quantized, quantizer.decode(codes[:, :count]))


def test_more_codebooks_come_nearer():
    quantizer = rvq(4).double().train()
    x = latents(frames=200)
    for _ in range(20):
        quantizer(x)
    quantizer.eval()
    errors = [(quantizer(x, num_codebooks=n).quantized - x).square().mean().item() for n in (1, 2, 3, 4)]
    assert errors == sorted(errors, reverse=True)
    assert errors[3] < errors[0] / 4


def test_codes_to_vectors_to_codes():
    """Residual codes come back where each codebook is finer than the cells of the one before."""
    quantizer = rvq(3, size=64)
    randomized(quantizer).eval()
    codes = torch.randint(64, (2, 3, 30), generator=seeded())
    for stage, scale in zip(quantizer.quantizers, (1.0, 1e-3, 1e-6), strict=True):
        stage.codebook.vectors.mul_(scale)
    assert torch.equal(quantizer.encode(quantizer.decode(codes)), codes)
    plain = randomized(vq()).eval()
    codes = torch.randint(32, (2, 1, 30), generator=seeded())
    assert torch.equal(plain.encode(plain.decode(codes)), codes)


def test_dropout_decodes_an_item_from_a_number_of_first_codebooks_drawn_by_its_own_generator():
    quantizer = randomized(rvq(4, dropout=1.0)).train()
    for stage in quantizer.quantizers:
        stage.codebook.restart_share, stage.codebook.decay = None, 0.999
    x = latents(batch=40)
    output = quantizer(x, generator=[seeded(i) for i in range(40)])
    quantizer.eval()
    depths = []
    for item in range(40):
        options = [quantizer.decode(output.codes[item : item + 1, :n]) for n in (1, 2, 3, 4)]
        distances = [(option - output.quantized[item : item + 1]).abs().max().item() for option in options]
        depths.append(1 + min(range(4), key=distances.__getitem__))
    assert set(depths) == {1, 2, 3, 4}
    alone = randomized(rvq(4, dropout=1.0)).train()(x[7:8], generator=[seeded(7)])
    torch.testing.assert_close(alone.quantized, output.quantized[7:8], rtol=0, atol=1e-9)


def test_dropout_spares_the_share_of_items_it_says():
    quantizer = randomized(rvq(8, dropout=0.25))
    quantizer.train()
    depths = quantizer._depths(latents(batch=2000, frames=1), 8, seeded())
    whole = (depths == 8).double().mean().item()
    expected = 0.75 + 0.25 / 8
    assert abs(whole - expected) < 4 * math.sqrt(expected * (1 - expected) / 2000)
    assert depths.min() == 1
    quantizer.eval()
    assert quantizer._depths(latents(), 8, seeded()) is None


def test_a_codebook_that_is_dropped_learns_nothing_and_costs_nothing():
    quantizer = randomized(rvq(3, dropout=1.0)).train()
    before = quantizer.quantizers[1].codebook.counts.clone()
    of_one = [seed for seed in range(30) if torch.rand(2, generator=seeded(seed))[1] < 1 / 3][:3]
    output = quantizer(latents(), generator=[seeded(seed) for seed in of_one])
    torch.testing.assert_close(quantizer.quantizers[1].codebook.counts, 0.99 * before, rtol=1e-12, atol=0)
    first = randomized(rvq(3)).train()(latents(), num_codebooks=1)
    torch.testing.assert_close(output.losses["commitment"], first.losses["commitment"], rtol=1e-12, atol=0)


def test_frozen_codebooks_go_on_dropping():
    quantizer = randomized(rvq(4, dropout=1.0)).train()
    for stage in quantizer.quantizers:
        stage.eval()
    before = {name: value.clone() for name, value in quantizer.state_dict().items()}
    output = quantizer(latents(batch=8), generator=seeded())
    assert not torch.equal(output.quantized, quantizer.decode(output.codes))
    assert all(torch.equal(before[name], value) for name, value in quantizer.state_dict().items())


def test_codebooks_start_each_with_what_those_before_left_over():
    quantizer = rvq(3, size=16, restart_share=None, decay=0.999999).double().train()
    x = latents(frames=100)
    alone = [Codebook(16, CHANNELS, restart_share=None).double() for _ in range(3)]
    for one, stage in zip(alone, quantizer.quantizers, strict=True):
        one.load_state_dict(stage.codebook.state_dict())
    quantizer(x)
    residual = x.transpose(1, 2).flatten(0, 1)
    for one, stage in zip(alone, quantizer.quantizers, strict=True):
        one.start(residual)
        torch.testing.assert_close(stage.codebook.vectors, one.vectors, rtol=1e-4, atol=1e-4)
        residual = residual - one(one.search(residual)[0])
    assert residual.square().mean() < 0.3 * x.square().mean()


# Construction


def test_wrong_constructions_are_refused():
    with pytest.raises(ValueError, match="no quantizers"):
        ResidualVectorQuantizer([])
    with pytest.raises(ValueError, match="some project and some do not"):
        ResidualVectorQuantizer([vq(), vq(2)])
    with pytest.raises(ValueError, match="`dropout` is 1.5"):
        rvq(dropout=1.5)
    with pytest.raises(ValueError, match="2 generators for 3 items"):
        rvq(dropout=0.5).double()(latents(), generator=[seeded(), seeded()])
    with pytest.raises(ValueError, match="3 values or more"):
        FiniteScalarQuantizer(4, (8, 2))


def test_under_autocast_codes_and_codebooks_are_those_of_float32():
    x = latents(dtype=torch.float32).bfloat16()
    for make in (lambda: rvq(8), dac, lambda: FiniteScalarQuantizer(CHANNELS, (8, 5, 5))):
        results = []
        for enabled in (False, True):
            quantizer = randomized(make()).float().train()
            with torch.autocast("cpu", dtype=torch.bfloat16, enabled=enabled):
                output = quantizer(x if enabled else x.float())
            results.append((output, quantizer.state_dict()))
        assert torch.equal(results[0][0].codes, results[1][0].codes)
        assert torch.equal(results[0][0].quantized, results[1][0].quantized)
        assert all(torch.equal(value, results[1][1][name]) for name, value in results[0][1].items())


def test_codes_of_any_integer_type_decode_alike():
    for make in (vq, rvq, lambda: FiniteScalarQuantizer(CHANNELS, (5, 5))):
        quantizer = randomized(make()).eval()
        codes = quantizer.encode(latents())
        for dtype in (torch.uint8, torch.int16, torch.int32):
            assert torch.equal(quantizer.decode(codes.to(dtype)), quantizer.decode(codes))


def test_the_gradient_reaches_what_computes_in_half_precision():
    quantizer = rvq(2, 3, learning="gradient").train()
    encoder = nn.Conv1d(CHANNELS, CHANNELS, 1)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        output = quantizer(encoder(latents(dtype=torch.float32)))
    (output.quantized.square().mean() + sum(output.losses.values())).backward()
    assert encoder.weight.grad.any()
