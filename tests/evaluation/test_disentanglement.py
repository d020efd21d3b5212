"""Disentanglement of latents that are made from known attributes."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from hf_audio_vae.evaluation.disentanglement import dci, mutual_information_gap, separated_attribute_predictability

CLIPS = 600
RANDOM = torch.Generator().manual_seed(0)
PITCH, LEVEL = (torch.rand(CLIPS, generator=RANDOM) for _ in range(2))
KIND = ["flute" if value > 0.5 else "horn" for value in torch.rand(CLIPS, generator=RANDOM)]
NOISE = torch.randn(CLIPS, 2, generator=RANDOM)
ATTRIBUTES = {"pitch": PITCH.tolist(), "level": LEVEL.tolist()}
SEPARATE = torch.stack([3 * PITCH, NOISE[:, 0], -LEVEL, NOISE[:, 1]], dim=1)
MIXED = torch.stack([PITCH + LEVEL, PITCH - LEVEL, 2 * PITCH + LEVEL, LEVEL - 2 * PITCH], dim=1)


def test_a_channel_of_its_own_gives_a_large_gap_and_a_mixture_a_small_one() -> None:
    for measure in (mutual_information_gap, separated_attribute_predictability):
        separate, mixed = measure(SEPARATE, ATTRIBUTES), measure(MIXED, ATTRIBUTES)
        assert all(value > 0.8 for value in separate.values()), measure
        assert all(value < 0.25 for value in mixed.values()), measure


def test_a_second_copy_closes_the_gap() -> None:
    latents = torch.cat([SEPARATE, SEPARATE[:, :1]], dim=1)
    for measure in (mutual_information_gap, separated_attribute_predictability):
        scores = measure(latents, ATTRIBUTES)
        assert scores["pitch"] == pytest.approx(0, abs=1e-6) and scores["level"] > 0.8


def test_the_gap_of_a_fair_coin_is_its_share_of_information() -> None:
    coin = torch.tensor([0.0, 1.0]).repeat(CLIPS // 2)
    other = torch.tensor([0.0, 0.0, 1.0, 1.0]).repeat(CLIPS // 4)
    names = {"both": [f"{int(a)}{int(b)}" for a, b in zip(coin, other, strict=True)], "first": coin.tolist()}
    scores = mutual_information_gap(torch.stack([coin, torch.zeros(CLIPS)], dim=1), names)
    assert scores["first"] == pytest.approx(1)
    assert scores["both"] == pytest.approx(math.log(2) / math.log(4))


def test_names_are_separated_by_a_classifier_of_each_channel() -> None:
    kind = torch.tensor([float(name == "flute") for name in KIND])
    latents = torch.stack([kind + 0.05 * NOISE[:, 0], NOISE[:, 1]], dim=1)
    assert separated_attribute_predictability(latents, {"kind": KIND})["kind"] > 0.4  # 1 - chance


def test_dci_is_high_for_separate_channels_and_low_for_a_mixture() -> None:
    disentanglement, completeness, scores = dci(SEPARATE, ATTRIBUTES)
    assert disentanglement > 0.9 and completeness > 0.9
    assert min(scores.values()) > 0.95
    mixed, spread, still = dci(MIXED[:, :2], ATTRIBUTES)
    assert mixed < 0.1 and spread < 0.1
    assert min(still.values()) > 0.8  # the information is there
    assert dci(SEPARATE[:, [1, 3]], ATTRIBUTES)[2]["pitch"] < 0.1


@pytest.mark.parametrize("of_type", [torch.tensor, np.array, lambda values: list(torch.tensor(values))])
def test_numbers_are_numbers_in_every_type(of_type: Callable[[list[float]], Any]) -> None:
    for values in (PITCH.tolist(), [round(10 * value) for value in PITCH.tolist()]):
        plain = {"pitch": values, "level": LEVEL.tolist()}
        typed = {name: of_type(values) for name, values in plain.items()}
        for measure in (mutual_information_gap, separated_attribute_predictability, dci):
            assert measure(SEPARATE.numpy(), typed) == measure(SEPARATE, plain), measure
    with pytest.raises(ValueError, match="'pitch' is constant"):
        mutual_information_gap(SEPARATE, {"pitch": of_type([1.0] * CLIPS)})


def test_what_cannot_be_measured_is_refused() -> None:
    with pytest.raises(ValueError, match="'pitch' is constant"):
        mutual_information_gap(SEPARATE, {"pitch": [1.0] * CLIPS})
    with pytest.raises(ValueError, match="has 2 values for 600 clips"):
        dci(SEPARATE, {"pitch": [1.0, 2.0]})
    with pytest.raises(ValueError, match="there is one attribute, 'pitch'"):
        dci(SEPARATE, {"pitch": PITCH.tolist()})
    with pytest.raises(ValueError, match=r"shape \(600, 1\)"):
        mutual_information_gap(SEPARATE[:, :1], ATTRIBUTES)
