"""Properties of every valid configuration of every family, drawn at random; inherited by both contracts."""

import copy
import tempfile
from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, Phase, assume, given, settings
from hypothesis import strategies as st
from torch import Tensor

from tests.models.inputs_contract import streams
from tests.models.probes import assert_equal_within_rounding
from tests.models.saved_contract import equal_weights

LONGEST_HOP = 300
CHECKS = [HealthCheck.differing_executors, HealthCheck.filter_too_much, HealthCheck.too_slow]


def drawn(examples: int) -> Callable[..., Any]:
    return settings(
        max_examples=examples,
        deadline=None,
        derandomize=True,
        database=None,
        phases=[Phase.generate],  # a smaller example takes minutes to find
        suppress_health_check=CHECKS,
    )


def values_like(value: Any, length: int) -> st.SearchStrategy[Any]:
    """Other values of a key, by the type of its value; lists of integers get `length` of them."""
    if isinstance(value, bool):
        return st.booleans()
    if isinstance(value, int):
        return st.integers(1, max(3, min(2 * value, 12)))
    if isinstance(value, tuple) and all(isinstance(item, int) for item in value):
        return st.tuples(*[st.integers(1, 3)] * length)
    return st.just(value)


def encoded(model: Any, x: Tensor) -> list[Tensor]:
    """Moments of the posterior, or codes of each level."""
    output = model.encode(x)
    if hasattr(output, "latent_dist"):
        return [output.latent_dist.mean, output.latent_dist.std]
    codes = output.audio_codes
    return [codes] if isinstance(codes, Tensor) else list(codes)


def assert_alike(actual: list[Tensor], expected: list[Tensor]) -> None:
    for a, b in zip(actual, expected, strict=True):
        if a.is_floating_point():
            assert_equal_within_rounding(a, b, operations=1000)
        else:
            assert torch.equal(a, b)


class PropertiesContract:
    """A subclass has `tiny_model` and `config`.

    `choices` are other values of keys that are no numbers; `fixed` are the values of keys that fit only together.
    """

    config: dict[str, Any]
    choices: dict[str, tuple[Any, ...]] = {}
    fixed: dict[str, Any] = {}
    tiny_model: Callable[..., Any]

    def any_model(self, data: st.DataObject) -> Any:
        length = data.draw(st.integers(1, 3), label="length of lists")
        changes = dict(self.fixed)
        for key, value in type(self).config.items():
            if key in self.fixed:
                continue
            others = values_like(value, length)
            if key in self.choices:
                others = st.one_of(others, st.sampled_from(self.choices[key]))
            is_list = isinstance(value, tuple) and isinstance(value[0], int)
            if is_list or data.draw(st.booleans(), label=f"other {key}"):
                changes[key] = data.draw(others, label=key)
        self.config = {**type(self).config, **changes}
        try:
            return self.tiny_model(torch.float64)
        except ValueError:
            assume(False)

    @torch.no_grad()
    def holds(self, data: st.DataObject) -> None:
        model = self.any_model(data)
        hop = model.hop_length
        assume(hop <= LONGEST_HOP)
        time = data.draw(st.integers(20 * hop, 30 * hop), label="time")  # longer than mirrored padding
        x = 0.3 * torch.randn(2, model.config.audio_channels, time, dtype=torch.float64)
        whole, sample = encoded(model, x), model(x).sample
        # Lengths
        assert sample.shape == x.shape
        assert whole[-1].shape[-1] == -(-time // hop)
        # Batches
        assert_alike(encoded(model, x[1:]), [values[1:] for values in whole])
        # Decompressed magnitudes amplify the roundings of some configurations.
        assert_equal_within_rounding(model(x[1:]).sample, sample[1:], operations=4000)
        # Folders
        with tempfile.TemporaryDirectory() as folder:
            model.save_pretrained(folder)
            again = type(model).from_pretrained(folder, torch_dtype=torch.float64)
        assert equal_weights(again, model)
        assert_alike(encoded(again, x), whole)
        # Pieces
        if not streams(model):
            return
        chunked = copy.deepcopy(model)
        chunked.enable_tiling(data.draw(st.integers(1, 30), label="tile_frames"))
        assert_alike(encoded(chunked, x), whole)
        assert_equal_within_rounding(chunked(x).sample, sample, operations=1000)

    @pytest.mark.slow
    @drawn(3)
    @given(data=st.data())
    def test_any_valid_configuration_keeps_lengths_batches_chunks_and_folders(self, data):
        self.holds(data)

    @pytest.mark.slow
    @drawn(25)
    @given(data=st.data())
    def test_many_valid_configurations_keep_lengths_batches_chunks_and_folders(self, data):
        self.holds(data)
