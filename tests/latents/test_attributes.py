"""Directions of attributes in latents that are made from known attributes."""

from pathlib import Path

import pytest
import torch

from hf_audio_vae.latents.attributes import AttributeVector, difference_of_means, mean_latents, regression

CHANNELS, CLIPS = 6, 200
RANDOM = torch.Generator().manual_seed(0)
TRUE = torch.randn(2, CHANNELS, generator=RANDOM, dtype=torch.float64)  # of two attributes
WEIGHTS = "a" * 64


def vector(direction: torch.Tensor, name: str = "velocity", weights: str = WEIGHTS) -> AttributeVector:
    return AttributeVector(name, direction, weights)


def test_regression_finds_each_direction_although_the_labels_are_correlated() -> None:
    first = torch.randn(CLIPS, generator=RANDOM, dtype=torch.float64)
    labels = torch.stack([first, first + 0.3 * torch.randn(CLIPS, generator=RANDOM, dtype=torch.float64)], dim=1)
    latents = 5 + labels @ TRUE
    torch.testing.assert_close(regression(latents, labels), TRUE)
    alone = regression(latents, labels[:, :1])[0]
    torch.testing.assert_close(alone - TRUE[0], TRUE[1], atol=0.3, rtol=0)  # it takes the other along


def test_the_difference_of_means_leads_from_one_set_to_the_other() -> None:
    quiet = torch.randn(50, CHANNELS, generator=RANDOM)
    direction = difference_of_means(quiet + 2 * TRUE[0].float(), quiet)
    torch.testing.assert_close(direction, 2 * TRUE[0].float())


def test_clips_of_all_lengths_count_alike() -> None:
    torch.testing.assert_close(mean_latents(torch.tensor([[1.0, 3.0], [0.0, 4.0]])), torch.tensor([2.0, 2.0]).double())


def test_strength_moves_what_is_measured_by_as_much() -> None:
    latents = torch.randn(2, CHANNELS, 5, generator=RANDOM)
    attribute = vector(TRUE[0].float())
    moved = attribute.apply(latents, 0.7)
    torch.testing.assert_close(attribute.measure(moved) - attribute.measure(latents), torch.full((2, 5), 0.7))
    ramp = torch.linspace(0, 1, 5)
    torch.testing.assert_close(attribute.measure(attribute.apply(latents, ramp) - latents), ramp.expand(2, 5))
    assert torch.equal(attribute.apply(latents, 0.0), latents)


def test_an_orthogonal_direction_leaves_the_others_alone() -> None:
    own, others = vector(TRUE[0].float()), [vector(TRUE[1].float(), "pitch"), vector(torch.ones(CHANNELS), "level")]
    latents = torch.randn(1, CHANNELS, 5, generator=RANDOM)
    moved = own.orthogonal_to(others).apply(latents, 3.0)
    for other in others:
        torch.testing.assert_close(other.measure(moved), other.measure(latents), atol=1e-5, rtol=0)
    assert (own.measure(moved) - own.measure(latents)).min() > 0.1
    with pytest.raises(ValueError, match="nothing of 'velocity' is left without 'pitch'"):
        own.orthogonal_to([vector(2 * TRUE[0].float(), "pitch")])


def test_what_cannot_be_right_is_refused() -> None:
    with pytest.raises(ValueError, match="constant or depend on each other"):
        regression(torch.zeros(9, CHANNELS), torch.ones(9, 1))
    with pytest.raises(ValueError, match=r"latents of 6 channels"):
        vector(torch.ones(CHANNELS)).apply(torch.zeros(1, 5, 3), 1.0)
    with pytest.raises(ValueError, match="other weights"):
        vector(torch.ones(CHANNELS)).orthogonal_to([vector(TRUE[0].float(), weights="b" * 64)])


def test_a_file_keeps_the_vector_and_shows_damage(tmp_path: Path) -> None:
    path = tmp_path / "velocity.safetensors"
    saved = vector(TRUE[0].float())
    saved.save(path)
    loaded = AttributeVector.load(path)
    assert torch.equal(loaded.direction, saved.direction) and (loaded.name, loaded.weights) == ("velocity", WEIGHTS)
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    with pytest.raises(ValueError, match="is damaged"):
        AttributeVector.load(path)
    path.write_bytes(b"no tensors")
    with pytest.raises(ValueError, match="is not a readable safetensors file of an attribute"):
        AttributeVector.load(path)
