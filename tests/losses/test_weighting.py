import pytest
import torch

from hf_audio_vae.losses import weighted_sum


def test_terms_are_added_each_times_its_weight():
    terms = {"spectral": torch.tensor(2.0), "l1": torch.tensor(3.0), "kl": torch.tensor(5.0)}
    assert weighted_sum(terms, {"kl": 0.5, "l1": 10.0, "spectral": 1.0}).item() == pytest.approx(34.5)


def test_the_gradient_of_a_term_is_its_weight():
    weights = {"l1": 2.0, "stft": 0.25, "off": 0.0}
    terms = {name: torch.tensor(3.0, requires_grad=True) for name in weights}
    weighted_sum(terms, weights).backward()
    assert {name: term.grad.item() for name, term in terms.items()} == pytest.approx(weights)


def test_a_vector_is_added_up_each_element_times_its_weight():
    kl = torch.tensor([3.0, 5.0, 7.0])
    assert weighted_sum({"kl": kl}, {"kl": 0.5}).item() == pytest.approx(7.5)
    assert weighted_sum({"kl": kl}, {"kl": torch.tensor([1.0, 0.0, -1.0])}).item() == pytest.approx(-4.0)


def test_nothing_adds_up_to_zero():
    assert weighted_sum({}, {}).item() == 0


def test_a_term_without_a_weight_is_refused_by_name():
    with pytest.raises(ValueError, match=r"the terms \['commitment'\] have no weight; give one"):
        weighted_sum({"l1": torch.tensor(1.0), "commitment": torch.tensor(1.0)}, {"l1": 1.0})


def test_a_weight_without_a_term_is_refused_by_name():
    with pytest.raises(ValueError, match=r"weights \['kl'\]; remove them, .* with `--weights.kl null`\. The terms"):
        weighted_sum({"l1": torch.tensor(1.0)}, {"l1": 1.0, "kl": 0.1})


def test_nan_in_a_term_shows_in_the_sum():
    assert weighted_sum({"l1": torch.tensor(torch.nan)}, {"l1": 1.0}).isnan()
