import pytest
import torch
from torch import Tensor

from hf_audio_vae.modules.sample_distributions import DISTRIBUTIONS, LogisticMixture, MuLawCategorical, choose

STEPS = torch.arange(-(2**15), 2**15 + 1, dtype=torch.float64) / 2**15  # all values of 16-bit samples


def parameters_of(distribution, count: int = 1, channels: int = 1) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    parameters = torch.randn(1, channels * distribution.num_parameters, count, generator=generator)
    if isinstance(distribution, LogisticMixture):
        parameters[:, 2 * distribution.num_components :] -= 3  # scales of about 0.05
        parameters[:, distribution.num_components : 2 * distribution.num_components] *= 0.3
    return parameters


@torch.no_grad()
def test_a_new_mixture_guesses_the_last_sample_and_its_scales_cover_loud_and_quiet_sound() -> None:
    mixture = LogisticMixture(3)
    bias = torch.randn(2 * 9)
    assert mixture.write_first_guess(bias)
    past = torch.tensor([[0.25, -0.5]])
    drawn = mixture.draw(bias[None], torch.full((1, 2, 2), 0.5), 0.0, past)
    torch.testing.assert_close(drawn, past)
    torch.testing.assert_close(bias[6:9], torch.tensor([-3.0, -5.0, -7.0]))
    assert not MuLawCategorical(4).write_first_guess(bias)


def grid(count: int) -> Tensor:
    return (torch.arange(count) + 0.5) / count


@pytest.mark.parametrize("mean", [-1.0, 0.0, 1.0])
def test_the_probabilities_of_all_sixteen_bit_values_sum_to_one(mean: float):
    mixture = LogisticMixture(4)
    parameters = parameters_of(mixture)
    parameters[:, 4:8] += mean
    parameters = parameters.expand(-1, -1, len(STEPS))
    total = (-mixture.nll(parameters, STEPS.float()[None, None], torch.zeros(1, 1, 1))).double().exp().sum()
    torch.testing.assert_close(total, torch.tensor(1.0, dtype=torch.float64), rtol=1e-4, atol=0)


def test_the_mixtures_likelihood_is_the_difference_of_its_distribution_function():
    mixture = LogisticMixture(2)
    logits, means, scales = torch.tensor([0.2, -0.3]), torch.tensor([-0.1, 0.4]), torch.tensor([0.05, 0.01])
    parameters = torch.cat([logits, means, scales.log()])[None, :, None]
    x, half = 0.125, 2.0**-16

    def cdf(value: float) -> Tensor:
        return (logits.double().softmax(0) * ((value - means.double()) / scales.double()).sigmoid()).sum()

    expected = -(cdf(x + half) - cdf(x - half)).log()
    nll = mixture.nll(parameters, torch.tensor([[[x + 0.25]]]), torch.tensor([[[0.25]]]))
    torch.testing.assert_close(nll.double().squeeze(), expected, rtol=1e-3, atol=0)


def test_the_likelihood_has_a_finite_gradient_far_from_every_component():
    mixture = LogisticMixture(2)
    parameters = torch.tensor([0.0, 0.0, -0.9, -0.9, -20.0, 5.0])[None, :, None].requires_grad_()
    mixture.nll(parameters, torch.tensor([[[1.0]]]), torch.zeros(1, 1, 1)).sum().backward()
    assert parameters.grad.isfinite().all()


def test_mu_law_classes_and_values_invert_each_other():
    law = MuLawCategorical(256)
    classes = torch.arange(256)
    assert torch.equal(law.classes(law.values(classes)), classes)
    x = torch.linspace(-1, 1, 5001, dtype=torch.float64)
    error = (law.network_input(law.values(law.classes(x))) - law.network_input(x)).abs()
    assert error.max() <= 1.001 / 255  # half a class on the companded scale


def test_samples_outside_the_range_count_as_its_ends():
    for distribution in (MuLawCategorical(16), LogisticMixture(3)):
        parameters = parameters_of(distribution, 2)
        inside, outside = torch.tensor([[[-1.0, 1.0]]]), torch.tensor([[[-7.0, 7.0]]])
        past = torch.tensor([[[0.5, -0.5]]])
        assert torch.equal(distribution.nll(parameters, inside, past), distribution.nll(parameters, outside, past))


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.0])
def test_classes_are_drawn_as_often_as_is_probable(temperature: float):
    logits = torch.tensor([0.3, -1.0, 1.2, 0.0])
    drawn = choose(logits.expand(4000, 1, 4), grid(4000)[:, None], temperature)
    shares = torch.bincount(drawn.flatten(), minlength=4) / 4000
    torch.testing.assert_close(shares, (logits / temperature).softmax(0), rtol=0, atol=1e-3)


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.0])
def test_draws_of_the_mixture_have_its_distribution(temperature: float):
    mixture = LogisticMixture(2)
    means, scales = torch.tensor([-0.3, 0.2]), torch.tensor([0.02, 0.05])
    parameters = torch.cat([torch.tensor([0.5, 0.0]), means, scales.log()])[None].expand(200 * 200, -1)
    noise = torch.cartesian_prod(grid(200), grid(200))[:, None]
    drawn = mixture.draw(parameters, noise, temperature, torch.tensor(0.0)).flatten()
    weights = (torch.tensor([0.5, 0.0]) / temperature).softmax(0)
    for value in (-0.35, -0.28, 0.0, 0.15, 0.3):
        expected = (weights * ((value - means) / (temperature * scales)).sigmoid()).sum()
        torch.testing.assert_close((drawn < value).float().mean(), expected, rtol=0, atol=6e-3)


@pytest.mark.parametrize("name", DISTRIBUTIONS)
def test_temperature_zero_takes_the_most_probable_component(name: str):
    distribution = DISTRIBUTIONS[name](5)
    parameters = torch.zeros(1, 2 * distribution.num_parameters)
    parameters[0, 3] = parameters[0, distribution.num_parameters + 1] = 1.0  # components 3 and 1 of two channels
    if isinstance(distribution, LogisticMixture):
        parameters[0, 5 + 3], parameters[0, distribution.num_parameters + 5 + 1] = 0.25, -0.5
        expected = torch.tensor([[0.25, -0.5]])
    else:
        expected = distribution.values(torch.tensor([[3, 1]])).float()
    past = torch.tensor([[0.125, -0.25]])
    if isinstance(distribution, LogisticMixture):
        expected = expected + past
    drawn = [distribution.draw(parameters, torch.full((1, 2, 2), value), 0.0, past) for value in (0.0, 0.99)]
    assert torch.equal(drawn[0], drawn[1])
    torch.testing.assert_close(drawn[0], expected)
