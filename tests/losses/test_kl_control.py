import json
import math

import pytest
import torch

from hf_audio_vae.losses import CapacityAnnealing, FreeBits, LinearAnnealing, TargetRate
from hf_audio_vae.losses.kl_control import KLControl

BIT = math.log(2)


def controls() -> dict[str, KLControl]:
    return {
        "free bits": FreeBits(0.5, bits=1.0),
        "capacity": CapacityAnnealing(2.0, nats=10.0, steps=100),
        "target rate": TargetRate(1000.0, frame_rate=50.0, weight=1e-3),
    }


@pytest.mark.parametrize("name", controls())
class TestEveryControl:
    def test_its_weights_do_not_change_within_a_step(self, name):
        control = controls()[name]
        control.update([0.5, 3.0])
        assert torch.equal(torch.as_tensor(control(7)), torch.as_tensor(control(7)))

    def test_its_state_goes_through_json_and_on_exactly(self, name):
        first, second = controls()[name], controls()[name]
        for step in range(5):
            first.update([0.1 * step, 20 / 3])
        second.load_state_dict(json.loads(json.dumps(first.state_dict())))
        for control in (first, second):
            control.update([0.3, 0.4])
        assert torch.equal(torch.as_tensor(first(5)), torch.as_tensor(second(5)))
        assert first.state_dict() == second.state_dict()

    def test_it_is_a_kl_control(self, name):
        assert isinstance(controls()[name], KLControl)
        assert not isinstance(LinearAnnealing(1.0, 5), KLControl)


def test_free_bits_are_the_gradient_of_the_published_formula():
    """Against ``sum_c max(bits, KL_c)``, where the mean of the step equals the running mean."""
    kl = torch.tensor([0.2, 0.6, 0.75, 5.0], requires_grad=True)
    torch.clamp(kl, min=1.0 * BIT).sum().mul(0.5).backward()
    control = FreeBits(0.5, bits=1.0)
    control.update(kl.tolist())
    torch.testing.assert_close(control(0), kl.grad)


def test_free_bits_weigh_every_channel_before_anything_is_measured_and_follow_a_schedule():
    control = FreeBits(LinearAnnealing(0.5, 10), bits=1.0)
    assert control(4) == pytest.approx(0.2)
    control.update([5.0, 0.1])
    assert control(4).tolist() == pytest.approx([0.2, 0.0])


def test_one_odd_batch_does_not_switch_a_channel():
    control = FreeBits(1.0, bits=1.0)
    for _ in range(20):
        control.update([1.0])  # nats, above a bit
    control.update([0.0])
    assert control(0).item() == 1.0
    for _ in range(20):
        control.update([0.0])
    assert control(0).item() == 0.0


def test_capacity_pushes_the_kl_towards_a_line():
    control = CapacityAnnealing(2.0, nats=10.0, steps=100)
    assert control(0) == 2.0
    control.update([1.0, 3.0])  # 4 nats a frame
    assert control(39) == 2.0, "capacity 3.9"
    assert control(41) == -2.0, "capacity 4.1"
    assert control(1000) == -2.0
    control.update([6.0, 6.0])
    assert control(1000) == 2.0, "above the final capacity, at the first step that is"


def test_a_channel_exactly_at_its_free_bits_is_free():
    control = FreeBits(0.5, bits=1.0)
    control.update([BIT, 1.0001 * BIT])
    assert control(0).tolist() == [0.0, 0.5]


def test_a_kl_exactly_at_capacity_is_pushed_down():
    control = CapacityAnnealing(2.0, nats=10.0, steps=100)
    control.update([1.0, 3.0])
    assert control(40) == 2.0


@pytest.mark.parametrize("kl", [1e-6, 1e6])
def test_a_rate_far_from_the_target_counts_as_one_e_fold(kl):
    control = TargetRate(1000.0, frame_rate=50.0, weight=1e-3, gain=0.5, integral_steps=100.0)
    control.update([kl])
    assert abs(math.log(control(0) / 1e-3)) == pytest.approx(0.5 + 1 / 100)


@pytest.mark.parametrize("start", [1e-5, 1e-1])
@pytest.mark.parametrize("exponent", [0.5, 1.5])
def test_a_controlled_kl_arrives_at_the_target_and_stays(start, exponent):
    """A model whose KL follows the weight slowly, by a power law as rate-distortion curves have it."""
    control = TargetRate(1000.0, frame_rate=50.0, weight=start)
    log_kl, rates = 0.0, []
    for step in range(3000):
        settled = -exponent * math.log(control(step) / 1e-3) + 2.0
        log_kl += 0.02 * (settled - log_kl)
        control.update([math.exp(log_kl) / 2] * 2)
        rates.append(math.exp(log_kl) / BIT * 50.0)
    assert rates[-1] == pytest.approx(1000.0, rel=0.01)
    assert all(rate == pytest.approx(1000.0, rel=0.05) for rate in rates[-500:])


@pytest.mark.parametrize(("kl", "bound"), [(0.0, 1e-7), (1e6, 10.0)])
def test_a_rate_that_cannot_be_reached_leaves_the_weight_at_its_bound(kl, bound):
    control = TargetRate(1000.0, frame_rate=50.0, weight=1e-3)
    for _ in range(10_000):
        control.update([kl])
    assert control(0) == pytest.approx(bound)


@pytest.mark.parametrize(
    ("make", "named"),
    [
        (lambda: FreeBits(1.0, bits=0.0), "`bits` is 0.0"),
        (lambda: CapacityAnnealing(1.0, nats=0.0, steps=5), "`nats` is 0.0"),
        (lambda: CapacityAnnealing(1.0, nats=5.0, steps=0), "`steps` 0"),
        (lambda: TargetRate(0.0, frame_rate=50.0), "'bits_per_second': 0.0"),
        (lambda: TargetRate(1000.0, frame_rate=math.nan), "'frame_rate': nan"),
        (lambda: TargetRate(1000.0, frame_rate=50.0, weight=-1.0), "'weight': -1.0"),
    ],
)
def test_values_out_of_range_are_named(make, named):
    with pytest.raises(ValueError, match=named):
        make()
