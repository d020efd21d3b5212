import pytest
import torch
from torch import Tensor

from hf_audio_vae.losses import WaveformL1Loss, WaveformMSELoss


def noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed)) * 2 - 1


@pytest.mark.parametrize(("loss", "exponent"), [(WaveformL1Loss(), 1), (WaveformMSELoss(), 2)])
class TestEveryLoss:
    def test_equals_the_slow_sum(self, loss, exponent):
        estimate, target = noise(3, 2, 50), noise(3, 2, 50, seed=1)
        pairs = zip(estimate.flatten().tolist(), target.flatten().tolist(), strict=True)
        assert loss(estimate, target).item() == pytest.approx(sum(abs(a - b) ** exponent for a, b in pairs) / 300)

    def test_is_zero_for_identical_signals_with_no_gradient(self, loss, exponent):
        estimate = noise(2, 1, 50).requires_grad_()
        value = loss(estimate, estimate.detach())
        value.backward()
        assert value.item() == 0
        assert not estimate.grad.any()

    def test_grows_with_the_power_of_the_error(self, loss, exponent):
        estimate, target = noise(2, 2, 50), noise(2, 2, 50, seed=1)
        larger = target + 3 * (estimate - target)
        torch.testing.assert_close(loss(larger, target), 3**exponent * loss(estimate, target))

    def test_is_symmetric_and_ignores_a_common_sign(self, loss, exponent):
        estimate, target = noise(2, 2, 50), noise(2, 2, 50, seed=1)
        assert torch.equal(loss(target, estimate), loss(estimate, target))
        assert torch.equal(loss(-estimate, -target), loss(estimate, target))

    def test_is_the_mean_of_the_items_alone(self, loss, exponent):
        estimate, target = noise(4, 2, 50), noise(4, 2, 50, seed=1)
        apart = torch.stack([loss(estimate[i : i + 1], target[i : i + 1]) for i in range(4)])
        torch.testing.assert_close(loss(estimate, target), apart.mean())

    def test_of_a_half_precision_estimate_is_float32_against_a_float32_target(self, loss, exponent):
        estimate, target = noise(2, 2, 50).bfloat16(), noise(2, 2, 50, seed=1)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            assert torch.equal(loss(estimate, target), loss(estimate.float(), target))


def test_gradients_are_the_sign_and_the_difference():
    target = noise(1, 1, 50, seed=1)
    for loss, expected in [
        (WaveformL1Loss(), lambda error: error.sign()),
        (WaveformMSELoss(), lambda error: 2 * error),
    ]:
        estimate = noise(1, 1, 50).requires_grad_()
        loss(estimate, target).backward()
        torch.testing.assert_close(50 * estimate.grad, expected((estimate - target).detach()))


@pytest.mark.parametrize("loss", [WaveformL1Loss(), WaveformMSELoss()], ids=lambda loss: type(loss).__name__)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16], ids=str)
@pytest.mark.parametrize("scale", [0.0, 1e-30, 1.0, 1e3, 1e10])
def test_values_and_gradients_of_any_scale_are_finite(loss, dtype, scale):
    target = scale * noise(2, 1, 50)
    estimate = noise(2, 1, 50, seed=1).to(dtype).requires_grad_()
    value = loss(estimate, target)
    (gradient,) = torch.autograd.grad(value, estimate)
    assert value.isfinite()
    assert value.dtype == torch.float32
    limit = torch.finfo(dtype).max
    assert gradient.isfinite().all() or 2 * scale / estimate.numel() > limit  # float16 ends at 65504
