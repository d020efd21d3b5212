import pytest
import torch

from hf_audio_vae.losses import CosineAnnealing, CyclicalAnnealing, LinearAnnealing, weighted_sum


def test_terms_are_added_each_times_its_weight():
    terms = {"spectral": torch.tensor(2.0), "l1": torch.tensor(3.0), "kl": torch.tensor(5.0)}
    assert weighted_sum(terms, {"kl": 0.5, "l1": 10.0, "spectral": 1.0}, step=0).item() == pytest.approx(34.5)


def test_the_gradient_of_a_term_is_its_weight():
    weights = {"l1": 2.0, "stft": 0.25, "kl": LinearAnnealing(1.0, 10), "off": 0.0}
    terms = {name: torch.tensor(3.0, requires_grad=True) for name in weights}
    weighted_sum(terms, weights, step=4).backward()
    assert {name: term.grad.item() for name, term in terms.items()} == pytest.approx(
        {"l1": 2.0, "stft": 0.25, "kl": 0.4, "off": 0.0}
    )


@pytest.mark.parametrize(
    "schedule", [LinearAnnealing(2.0, 10), CosineAnnealing(2.0, 10), CyclicalAnnealing(2.0, 10)], ids=str
)
@pytest.mark.parametrize("step", [0, 3, 10, 17])
def test_a_schedule_is_read_at_the_step(schedule, step):
    terms = {"l1": torch.tensor(1.0), "kl": torch.tensor(3.0)}
    total = weighted_sum(terms, {"l1": 1.0, "kl": schedule}, step)
    assert total.item() == pytest.approx(1 + 3 * schedule(step))


def test_a_term_without_a_weight_is_refused_by_name():
    with pytest.raises(ValueError, match="commitment"):
        weighted_sum({"l1": torch.tensor(1.0), "commitment": torch.tensor(1.0)}, {"l1": 1.0}, step=0)


def test_a_weight_without_a_term_is_refused_by_name():
    with pytest.raises(ValueError, match="kl"):
        weighted_sum({"l1": torch.tensor(1.0)}, {"l1": 1.0, "kl": 0.1}, step=0)


def test_nan_in_a_term_shows_in_the_sum():
    assert weighted_sum({"l1": torch.tensor(torch.nan)}, {"l1": 1.0}, step=0).isnan()
