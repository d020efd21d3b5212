import pytest
import torch
from torch import nn

from hf_audio_vae.training.learner import Learner


@pytest.fixture
def learner() -> Learner:
    torch.manual_seed(0)
    module = nn.ModuleDict({"encoder": nn.Linear(3, 4), "decoder": nn.Linear(4, 3)})
    return Learner(module, torch.optim.SGD(module.parameters(), lr=0.1), None, dict(module.named_children()))


def flat(tensors) -> torch.Tensor:
    return torch.cat([tensor.detach().flatten() for tensor in tensors])


@pytest.mark.parametrize("max_norm", [1e-3, 1e6])
def test_gradient_norms_are_those_from_before_clipping(learner: Learner, max_norm: float) -> None:
    x = torch.randn(5, 3, generator=torch.Generator().manual_seed(0))
    learner.module["decoder"](learner.module["encoder"](x)).square().sum().backward()
    expected = {name: flat(p.grad for p in part.parameters()).norm() for name, part in learner.parts.items()}
    total = nn.utils.clip_grad_norm_(learner.module.parameters(), max_norm)
    for name, norm in learner.gradient_norms(total, max_norm).items():
        # Clipping adds 1e-6 to the norm it divides by.
        torch.testing.assert_close(norm, expected[name.removeprefix("gradient_norm/")], rtol=1e-5, atol=0)


def test_a_part_without_gradients_has_a_norm_of_zero(learner: Learner) -> None:
    assert learner.gradient_norms(torch.tensor(0.0), 1.0)["gradient_norm/encoder"] == 0


def test_the_update_to_weight_ratio_is_the_relative_change(learner: Learner) -> None:
    ratios: dict[str, torch.Tensor] = {}
    with learner.measured_update(ratios), torch.no_grad():
        for parameter in learner.module["encoder"].parameters():
            parameter.mul_(1.01)
    torch.testing.assert_close(ratios["update_to_weight/encoder"], torch.tensor(0.01), rtol=1e-3, atol=0)
    assert ratios["update_to_weight/decoder"] == 0
