import copy

import pytest
import torch
from torch import nn

from hf_audio_vae.modules.quantization import Codebook
from hf_audio_vae.training.ema import EMA


def test_average_follows_the_recursion() -> None:
    generator = torch.Generator().manual_seed(0)
    model = nn.Linear(3, 2).double()
    ema = EMA(model, 0.9)
    expected = [p.detach().clone() for p in model.parameters()]
    for step in range(200):
        with torch.no_grad():
            for p in model.parameters():
                p.add_(torch.randn(p.shape, generator=generator, dtype=p.dtype))
        decay = min(0.9, (1 + step) / (10 + step))
        expected = [decay * e + (1 - decay) * p for e, p in zip(expected, model.parameters(), strict=True)]
        ema.update(model)
    for mine, theirs in zip(ema.model.parameters(), expected, strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-12, atol=0)
        assert not mine.requires_grad


def test_no_decay_is_a_copy() -> None:
    model = nn.Linear(3, 2)
    ema = EMA(copy.deepcopy(model).requires_grad_(True), 0.0)
    nn.init.normal_(model.weight, generator=torch.Generator().manual_seed(1))
    ema.update(model)
    assert torch.equal(ema.model.weight, model.weight)


@pytest.mark.parametrize("decay", [-0.1, 1.0])
def test_decay_outside_its_range_is_refused(decay: float) -> None:
    with pytest.raises(ValueError, match=r"in \[0, 1\)"):
        EMA(nn.Linear(1, 1), decay)


def test_codebooks_are_copied_however_they_learn() -> None:
    codebook = Codebook(4, 2, learning="gradient")
    average = EMA(codebook, 0.999)
    codebook.vectors.data[1] = 100.0  # a restart
    average.update(codebook)
    assert torch.equal(average.model.vectors, codebook.vectors)
