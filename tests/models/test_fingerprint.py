import pytest
import torch
from torch import nn

from hf_audio_vae.models.fingerprint import weights_fingerprint


def model_of(**weights: torch.Tensor) -> nn.ParameterDict:
    return nn.ParameterDict({name: nn.Parameter(weight, requires_grad=False) for name, weight in weights.items()})


def test_equal_models_have_equal_fingerprints_wherever_their_weights_lie() -> None:
    weight = torch.arange(6.0).reshape(2, 3)
    model, same = model_of(a=weight, b=weight + 1), model_of(b=weight + 1, a=weight.T.contiguous().T)
    assert weights_fingerprint(model) == weights_fingerprint(same)


@pytest.mark.parametrize(
    "other",
    [
        {"b": torch.zeros(2, 3)},
        {"a": torch.zeros(3, 2)},
        {"a": torch.zeros(2, 3, dtype=torch.int32)},
        {"a": torch.tensor([[0.0, 0, 0], [0, 0, 1e-45]])},
        {"a": torch.zeros(2, 3), "b": torch.zeros(0)},
    ],
    ids=["name", "shape", "type", "value", "more"],
)
def test_another_name_shape_type_or_value_is_another_model(other: dict[str, torch.Tensor]) -> None:
    assert weights_fingerprint(model_of(a=torch.zeros(2, 3))) != weights_fingerprint(model_of(**other))
