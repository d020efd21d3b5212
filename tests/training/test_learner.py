import json
import random
from pathlib import Path

import numpy as np
import pytest
import torch
from accelerate import Accelerator
from torch import nn

from hf_audio_vae.training.config import TrainingConfig
from hf_audio_vae.training.learner import Learner, prepare_learner
from hf_audio_vae.training.states import random_states, read_learners, set_random_states, write_learners


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


def prepared(learning_rate: float, scaler: torch.amp.GradScaler | None = None) -> Learner:
    torch.manual_seed(0)
    config = TrainingConfig(
        output_dir="out",
        dataset_name="a",
        validation_dataset_name="b",
        segment_seconds=1,
        max_train_steps=10,
        lr_scheduler="cosine",
    )
    accelerator = Accelerator(cpu=True)
    accelerator.scaler = scaler
    return prepare_learner(accelerator, nn.Linear(3, 4), config, learning_rate=learning_rate, steps=10)


def take_steps(learner: Learner, count: int) -> None:
    for _ in range(count):
        learner.module(torch.ones(2, 3)).square().sum().backward()
        learner.optimizer.step()
        learner.optimizer.zero_grad()
        learner.lr_scheduler.scheduler.step()


def test_a_learner_is_restored_from_files_that_are_no_pickles(tmp_path: Path) -> None:
    straight, first, second = (prepared(0.1) for _ in range(3))
    take_steps(straight, 7)
    take_steps(first, 4)
    write_learners(tmp_path, {"model": first}, None)
    assert {path.suffix for path in tmp_path.iterdir()} == {".json", ".safetensors"}
    read_learners(tmp_path, {"model": second}, None)
    take_steps(second, 3)
    assert all(
        torch.equal(a, b) for a, b in zip(straight.module.parameters(), second.module.parameters(), strict=True)
    )
    assert straight.lr_scheduler.state_dict() == second.lr_scheduler.state_dict()
    with pytest.raises(ValueError, match="model.safetensors does not fit the networks of this run: .*size mismatch"):
        other = Learner(nn.Linear(2, 4), second.optimizer, second.lr_scheduler)
        read_learners(tmp_path, {"model": other}, None)
    with pytest.raises(ValueError, match="has no discriminator; start a new run from its weights with `--pretrained"):
        read_learners(tmp_path, {"discriminator": second}, None)


def test_a_checkpoint_of_another_kernel_of_adamw_is_continued(tmp_path: Path) -> None:
    scaled, plain = prepared(0.1, torch.amp.GradScaler("cpu")), prepared(0.1)
    take_steps(plain, 2)
    write_learners(tmp_path, {"model": plain}, None)
    read_learners(tmp_path, {"model": scaled}, None)
    assert [scaled.optimizer.param_groups[0]["fused"], plain.optimizer.param_groups[0]["fused"]] == [False, True]


def test_a_step_that_the_gradient_scaler_skips_is_noticed() -> None:
    scaler = torch.amp.GradScaler("cpu")
    learner = prepared(0.1, scaler)
    before = flat(learner.module.parameters()).clone()
    for x, skipped in ((torch.inf, True), (1.0, False)):
        scaler.scale(learner.module(torch.full((2, 3), x)).mean()).backward()
        learner.optimizer.step()
        learner.optimizer.zero_grad()
        assert learner.optimizer.step_was_skipped == skipped
        assert torch.equal(flat(learner.module.parameters()), before) == skipped


def test_other_hyperparameters_apply_at_the_present_step(tmp_path: Path) -> None:
    first, second, expected = prepared(0.1), prepared(0.2), prepared(0.2)
    take_steps(first, 4)
    take_steps(expected, 4)
    write_learners(tmp_path, {"model": first}, None)
    fresh = second.hyperparameters()
    read_learners(tmp_path, {"model": second}, None)
    second.set_hyperparameters(fresh)
    for step in range(3):
        assert second.optimizer.param_groups[0]["lr"] == expected.optimizer.param_groups[0]["lr"], step
        take_steps(second, 1)
        take_steps(expected, 1)
    assert second.optimizer.state_dict()["state"][0]["step"] == 7


def test_random_states_are_restored_from_json() -> None:
    def draw() -> list[float]:
        return [random.random(), random.gauss(), np.random.normal(), torch.rand(()).item()]

    before = random_states()
    try:
        draw()
        state = json.loads(json.dumps(random_states()))
        drawn = draw()
        set_random_states(state)
        assert draw() == drawn
    finally:
        set_random_states(before)
