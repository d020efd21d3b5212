from pathlib import Path

import pytest
import torch
from torch import Tensor

from hf_audio_vae import LatentConditioner

WIDTH, TEXT_WIDTH = 8, 6


@pytest.fixture
def conditioner() -> LatentConditioner:
    torch.manual_seed(0)
    return LatentConditioner(WIDTH, ("drum", "voice"), TEXT_WIDTH).eval()


def noise(*shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(0))


def test_each_condition_has_its_tokens_and_the_mask_tells_which_are_there(conditioner: LatentConditioner) -> None:
    condition = conditioner(
        torch.tensor([1.0, 2.0]),
        class_labels=torch.tensor([1, 0]),
        text_hidden_states=noise(2, 3, TEXT_WIDTH),
        text_attention_mask=torch.tensor([[1, 1, 1], [1, 0, 0]]),
        dropped=torch.tensor([False, False]),
    )
    assert condition.encoder_hidden_states.shape == (2, 1 + 1 + 3, WIDTH)
    assert condition.encoder_attention_mask.tolist() == [[True] * 5, [True, True, True, False, False]]


def test_what_is_dropped_leaves_what_was_never_there(conditioner: LatentConditioner) -> None:
    durations = torch.tensor([1.0, 2.0])
    given = {"class_labels": torch.tensor([1, 0]), "text_hidden_states": noise(2, 3, TEXT_WIDTH)}
    dropped = conditioner(durations, **given, dropped=torch.tensor([True, False]))
    bare, full = conditioner(durations), conditioner(durations, **given)
    assert dropped.encoder_attention_mask.tolist() == [[True] + 4 * [False], 5 * [True]]
    torch.testing.assert_close(dropped.encoder_hidden_states[0, 0], bare.encoder_hidden_states[0, 0])
    torch.testing.assert_close(dropped.global_hidden_states[0], bare.global_hidden_states[0])
    torch.testing.assert_close(dropped.global_hidden_states[1], full.global_hidden_states[1])


def test_an_item_without_a_class_has_no_token_for_it_and_keeps_its_text(conditioner: LatentConditioner) -> None:
    durations, text = torch.tensor([1.0, 2.0]), {"text_hidden_states": noise(2, 3, TEXT_WIDTH)}
    condition = conditioner(durations, class_labels=torch.tensor([-1, 0]), **text)
    assert condition.encoder_attention_mask.tolist() == [[True, False, True, True, True], 5 * [True]]
    bare = conditioner(durations, **text)
    torch.testing.assert_close(condition.global_hidden_states[0], bare.global_hidden_states[0])


def test_durations_are_told_apart_to_a_tenth_of_a_second_up_to_minutes(conditioner: LatentConditioner) -> None:
    features = conditioner.duration_features(torch.arange(0, 3000) / 10)
    distances = (features[1:] - features[:-1]).norm(dim=1)
    assert distances.min() > 1.0
    far = torch.cdist(features[::50], features[::50]) + 100 * torch.eye(60)
    assert far.min() > 1.0, "no two are alike"


def test_gradient_reaches_every_parameter(conditioner: LatentConditioner) -> None:
    condition = conditioner(
        torch.tensor([1.0]), class_labels=torch.tensor([1]), text_hidden_states=noise(1, 3, TEXT_WIDTH)
    )
    (condition.encoder_hidden_states.square().sum() + condition.global_hidden_states.square().sum()).backward()
    assert all(parameter.grad is not None and parameter.grad.any() for parameter in conditioner.parameters())


def test_loading_gives_back_what_was_saved(conditioner: LatentConditioner, tmp_path: Path) -> None:
    conditioner.save_pretrained(tmp_path)
    loaded = LatentConditioner.from_pretrained(tmp_path)
    assert tuple(loaded.config.class_names) == ("drum", "voice")
    arguments = {"class_labels": torch.tensor([1]), "text_hidden_states": noise(1, 3, TEXT_WIDTH)}
    ours, theirs = (model(torch.tensor([1.5]), **arguments) for model in (conditioner, loaded))
    torch.testing.assert_close(ours.encoder_hidden_states, theirs.encoder_hidden_states)
    torch.testing.assert_close(ours.global_hidden_states, theirs.global_hidden_states)


def test_conditions_it_has_not_learnt_are_refused() -> None:
    plain = LatentConditioner(WIDTH)
    with pytest.raises(ValueError, match="without classes"):
        plain(torch.tensor([1.0]), class_labels=torch.tensor([0]))
    with pytest.raises(ValueError, match="without texts"):
        plain(torch.tensor([1.0]), text_hidden_states=noise(1, 3, TEXT_WIDTH))
    with pytest.raises(ValueError, match="one name twice"):
        LatentConditioner(WIDTH, ("a", "a"))
