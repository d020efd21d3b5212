import math

import pytest
import torch

from hf_audio_vae.modules.quantization import FiniteScalarQuantizer
from tests.modules.quantization.quantizers import seeded


def unprojected(levels: tuple[int, ...]) -> FiniteScalarQuantizer:
    quantizer = FiniteScalarQuantizer(len(levels), levels).double()
    for projection in (quantizer.in_proj, quantizer.out_proj):
        projection.weight_v.data = torch.eye(len(levels), dtype=torch.float64)[:, :, None]
        projection.weight_g.data.fill_(1)
        projection.bias.data.zero_()
    return quantizer


@pytest.mark.parametrize("levels", [(8, 5, 5, 5), (3,), (7, 4)])
def test_every_code_of_finite_scalars_comes_back(levels):
    quantizer = unprojected(levels).eval()
    size = math.prod(levels)
    assert quantizer.codebook_sizes == (size,)
    codes = torch.arange(size)[None, None]
    values = quantizer.decode(codes)
    for number, level in enumerate(levels):
        steps = torch.arange(level) - level // 2
        assert torch.equal(values[0, number].unique(), steps.double() / (level // 2))
    assert len(values[0].T.unique(dim=0)) == size
    half = torch.tensor([(level - 1) * 1.001 / 2 for level in levels], dtype=torch.float64)[:, None]
    offset = torch.tensor([0.5 * (level % 2 == 0) for level in levels], dtype=torch.float64)[:, None]
    integers = values[0] * torch.tensor([level // 2 for level in levels])[:, None]
    before = torch.atanh((integers + offset) / half) - torch.atanh(offset / half)  # the bound, turned round
    assert torch.equal(quantizer.encode(before[None]), codes)
    assert values[0, 0, 0] < values[0, 0, 1]  # the first level changes fastest


def test_finite_scalars_cover_all_levels_and_pass_the_gradient_of_the_bound():
    quantizer = unprojected((5, 4))
    x = torch.linspace(-6, 6, 400, dtype=torch.float64).expand(1, 2, 400).clone().requires_grad_()
    output = quantizer(x)
    assert len(output.codes.unique()) >= 5
    assert output.quantized[0, 0].unique().tolist() == [-1, -0.5, 0, 0.5, 1]
    assert output.quantized[0, 1].unique().tolist() == [-1, -0.5, 0, 0.5]
    output.quantized[0, 0].sum().backward()
    half = 4 * 1.001 / 2
    expected = (1 - torch.tanh(x.detach()[0, 0]).square()) * half / 2
    torch.testing.assert_close(x.grad[0, 0], expected, rtol=1e-12, atol=1e-15)
    assert output.losses == {}


def test_finite_scalars_in_half_precision_use_their_levels():
    quantizer = FiniteScalarQuantizer(2, (4, 3)).bfloat16()
    for projection in (quantizer.in_proj, quantizer.out_proj):
        projection.weight_v.data = torch.eye(2).bfloat16()[:, :, None]
        projection.weight_g.data.fill_(1)
        projection.bias.data.zero_()
    codes = quantizer.encode(4 * torch.randn(1, 2, 500, generator=seeded()).bfloat16())
    assert len(codes.unique()) == 12
