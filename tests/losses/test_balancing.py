import math

import pytest
import torch
from torch import Tensor

from hf_audio_vae.losses import GradientBalancer

SHAPE = (4, 2, 50)
SHARES = {"a": 1.0, "b": 3.0}


def directions() -> dict[str, Tensor]:
    """Two orthogonal directions for each item, of norm 1."""
    raw = torch.randn(2, *SHAPE, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    a = raw[0] / torch.linalg.vector_norm(raw[0], dim=(1, 2), keepdim=True)
    b = raw[1] - (raw[1] * a).sum(dim=(1, 2), keepdim=True) * a
    return {"a": a, "b": b / torch.linalg.vector_norm(b, dim=(1, 2), keepdim=True)}


def balanced_gradient(balancer: GradientBalancer, scales: dict[str, float], items: slice = slice(None)) -> Tensor:
    """Take one step with losses that have those gradients an item; return what reaches the waveform, per item."""
    parts = {name: direction[items] for name, direction in directions().items()}
    waveform = torch.zeros_like(parts["a"], requires_grad=True)
    terms = {name: scales[name] * (part * waveform).sum(dim=(1, 2)).mean() for name, part in parts.items()}
    scalar, norms = balancer(terms, SHARES, waveform)
    (gradient,) = torch.autograd.grad(scalar, waveform)
    balancer.update({name: norm.item() for name, norm in norms.items()})
    return len(waveform) * gradient


def shares_in(gradient: Tensor) -> dict[str, float]:
    parts = directions()
    return {name: (gradient * part).sum(dim=(1, 2)).mean().item() for name, part in parts.items()}


@pytest.mark.parametrize("scales", [{"a": 1.0, "b": 1.0}, {"a": 1e4, "b": 1e-4}])
def test_shares_do_not_depend_on_the_scale_of_a_loss(scales):
    balancer = GradientBalancer(total_norm=8.0)
    balanced_gradient(balancer, scales)
    assert shares_in(balanced_gradient(balancer, scales)) == pytest.approx({"a": 2.0, "b": 6.0}, rel=1e-6)


def test_a_loss_that_was_never_measured_waits_a_step():
    balancer = GradientBalancer()
    assert not balanced_gradient(balancer, {"a": 1.0, "b": 1.0}).any()
    assert balanced_gradient(balancer, {"a": 1.0, "b": 1.0}).any()


def test_the_average_is_that_of_the_measurements_weighted_by_age():
    balancer = GradientBalancer(decay=0.5, total_norm=1.0)
    for scale in (1.0, 2.0, 4.0):
        balanced_gradient(balancer, {"a": scale, "b": 1.0})
    average = (0.25 * 1 + 0.5 * 2 + 1.0 * 4) / 1.75
    found = shares_in(balanced_gradient(balancer, {"a": 5.0, "b": 1.0}))["a"]
    assert found == pytest.approx(0.25 * 5 / average, rel=1e-6)


def test_an_item_gets_the_same_gradient_in_any_batch():
    whole, part = GradientBalancer(), GradientBalancer()
    for balancer in (whole, part):
        balancer.update({"a": 2.0, "b": 3.0})
    scales = {"a": 1.0, "b": 5.0}
    together, alone = balanced_gradient(whole, scales), balanced_gradient(part, scales, slice(0, 1))
    torch.testing.assert_close(together[:1], alone)
    assert whole.norms == pytest.approx(part.norms), "norms are per item, not per batch"


def test_the_norm_is_the_mean_over_items():
    waveform = torch.zeros(2, 1, 4, requires_grad=True)
    slopes = torch.tensor([1.0, 5.0])[:, None, None]
    _, norms = GradientBalancer()({"a": (slopes * waveform).sum(dim=(1, 2)).mean()}, {"a": 1.0}, waveform)
    assert norms["a"].item() == pytest.approx((2 * 1 + 2 * 5) / 2)  # an item has four samples


def test_a_share_of_zero_is_left_out():
    waveform = torch.zeros(1, 1, 3, requires_grad=True)
    balancer = GradientBalancer()
    balancer.update({"a": 1.0, "b": 1.0})
    scalar, norms = balancer({"a": waveform.sum(), "b": 5 * waveform[..., 0].sum()}, {"a": 1.0, "b": 0.0}, waveform)
    (gradient,) = torch.autograd.grad(scalar, waveform)
    torch.testing.assert_close(gradient, torch.ones(1, 1, 3))
    assert norms.keys() == {"a"}


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_a_gradient_that_is_not_finite_shows_even_where_it_does_not_count_yet(bad):
    waveform = torch.zeros(1, 1, 3, requires_grad=True)
    scalar, _ = GradientBalancer()({"a": (bad * waveform).sum()}, {"a": 1.0}, waveform)
    assert not scalar.isfinite()


def test_its_state_goes_on_exactly():
    first, second = GradientBalancer(), GradientBalancer()
    scales = {"a": 3.0, "b": 0.2}
    for _ in range(3):
        balanced_gradient(first, scales)
    second.load_state_dict(first.state_dict())
    assert torch.equal(balanced_gradient(first, scales), balanced_gradient(second, scales))
    assert first.state_dict() == second.state_dict()


@pytest.mark.parametrize("options", [{"decay": 1.0}, {"decay": -0.1}, {"total_norm": 0.0}, {"total_norm": math.nan}])
def test_values_out_of_range_are_refused(options):
    with pytest.raises(ValueError, match="lie in"):
        GradientBalancer(**options)


def test_a_silent_batch_divides_by_no_zero():
    waveform = torch.zeros(2, 1, 4, requires_grad=True)
    balancer = GradientBalancer()
    for _ in range(3):
        scalar, norms = balancer({"a": waveform.square().mean()}, {"a": 1.0}, waveform)
        balancer.update({name: norm.item() for name, norm in norms.items()})
        (gradient,) = torch.autograd.grad(scalar, waveform)
        assert not gradient.any()
