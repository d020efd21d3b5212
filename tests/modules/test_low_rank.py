"""Low-rank updates of all kinds of layers, with and without weight norm."""

import copy
import warnings
from collections.abc import Callable

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations

from hf_audio_vae.modules.convolution import (
    GroupNormConv1d,
    GroupNormConvTranspose1d,
    WeightNormConv1d,
    WeightNormConv2d,
    WeightNormConvTranspose1d,
)
from hf_audio_vae.modules.low_rank import LowRank, register_update, set_weight, weight_of

RANK = 2


def hooked(layer: nn.Module) -> nn.Module:
    """A layer with torch's older weight norm, which can be copied after a pass without gradients."""
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore", FutureWarning)
        return nn.utils.weight_norm(layer)


LAYERS: dict[str, Callable[[], nn.Module]] = {
    "linear": lambda: nn.Linear(6, 8),
    "conv1d": lambda: nn.Conv1d(6, 8, 3, dilation=2),
    "conv_transpose1d": lambda: nn.ConvTranspose1d(6, 8, 4, 2),
    "conv2d": lambda: nn.Conv2d(6, 8, 3),
    "group_norm": lambda: GroupNormConv1d(6, 8, 3),
    "group_norm_transpose": lambda: GroupNormConvTranspose1d(6, 8, stride=2),
    "own": lambda: WeightNormConv1d(6, 8, 3, dilation=3, pad_mode="reflect"),
    "own_transpose": lambda: WeightNormConvTranspose1d(6, 8, stride=2),
    "own_2d": lambda: WeightNormConv2d(6, 8, (3, 3)),
    "hook": lambda: hooked(nn.Conv1d(6, 8, 3)),
    "hook_transpose": lambda: hooked(nn.ConvTranspose1d(6, 8, 4, 2)),
    "parametrized": lambda: parametrizations.weight_norm(nn.Conv1d(6, 8, 3)),
    "parametrized_transpose": lambda: parametrizations.weight_norm(nn.ConvTranspose1d(6, 8, 4, 2)),
}


@pytest.fixture(params=LAYERS, autouse=True)
def layer(request: pytest.FixtureRequest) -> nn.Module:
    torch.manual_seed(0)
    made = LAYERS[request.param]()
    for parameter in made.parameters():
        nn.init.normal_(parameter.data)  # lengths other than those of the directions
    return made.requires_grad_(False)


@pytest.fixture
def x(layer: nn.Module, request: pytest.FixtureRequest) -> torch.Tensor:
    shape = {"linear": (2, 9, 6), "conv2d": (2, 6, 9, 9), "own_2d": (2, 6, 9, 9)}
    return torch.randn(*shape.get(request.node.callspec.params["layer"], (2, 6, 12)))


def update_of(layer: nn.Module) -> LowRank:
    update = LowRank(tuple(weight_of(layer).shape), RANK, 0.5)
    nn.init.normal_(update.lora_B)
    return update


def closeness(reference: torch.Tensor) -> dict[str, float]:
    """Rounding of sums of at most 6 * 3 * 3 products, relative to the largest output."""
    return {"rtol": 0.0, "atol": 54 * torch.finfo(torch.float32).eps * float(reference.detach().abs().max())}


def test_a_new_update_changes_no_output(layer: nn.Module, x: torch.Tensor) -> None:
    before = layer(x)
    register_update(layer, LowRank(tuple(weight_of(layer).shape), RANK, 0.5))
    torch.testing.assert_close(layer(x), before, **closeness(before))


def test_only_the_factors_train_and_each_gets_a_gradient(layer: nn.Module, x: torch.Tensor) -> None:
    update = update_of(layer)
    register_update(layer, update)
    layer(x).square().sum().backward()
    trained = {parameter for parameter in layer.parameters() if parameter.requires_grad}
    assert trained == {update.lora_A, update.lora_B}
    assert all(float(factor.grad.abs().max()) > 0 for factor in (update.lora_A, update.lora_B))


def test_a_merged_weight_gives_the_outputs_of_the_update_under_the_original_names(
    layer: nn.Module, x: torch.Tensor
) -> None:
    merged, update = copy.deepcopy(layer), update_of(layer)
    names, before = list(layer.state_dict()), layer(x)
    register_update(layer, update)
    with torch.no_grad():
        set_weight(merged, update(weight_of(merged)))
    assert list(merged.state_dict()) == names
    torch.testing.assert_close(merged(x), layer(x), **closeness(before + layer(x)))
    assert float((merged(x) - before).abs().max()) > 0.1


def test_the_update_has_the_rank(layer: nn.Module) -> None:
    update = update_of(layer)
    difference = update(torch.zeros(update.shape)).flatten(1)
    assert int(torch.linalg.matrix_rank(difference)) == RANK
