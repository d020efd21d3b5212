"""Checks whose answers come late, without a GPU: copies from it are replaced by ones that can be watched."""

from collections.abc import Callable

import pytest
import torch

from hf_audio_vae import WaveformVAE
from hf_audio_vae.modules import deferral, finite
from hf_audio_vae.modules.deferral import deferring_checks, require


class OnDevice(torch.Tensor):
    """A tensor that says it is on a CUDA device."""

    is_cuda = True


@pytest.fixture
def events(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What happens, in order: copies begin, copies are read."""
    happened: list[str] = []

    def read_later(value: torch.Tensor) -> Callable[[], bool]:
        happened.append("copy")

        def read() -> bool:
            happened.append("read")
            return bool(value)

        return read

    monkeypatch.setattr(deferral, "read_later", read_later)
    return happened


def on_device(value: bool) -> torch.Tensor:
    return torch.tensor(value).as_subclass(OnDevice)


def test_on_a_gpu_the_answer_is_read_when_the_work_is_queued(events: list[str]) -> None:
    @deferring_checks
    def inner(value: bool) -> None:
        require(lambda: on_device(value), lambda: ValueError("wrong"))
        events.append("work")

    @deferring_checks
    def outer() -> str:
        inner(True)
        inner(True)
        return "done"

    assert outer() == "done"
    assert events == ["copy", "work", "copy", "work", "read", "read"]
    events.clear()
    with pytest.raises(ValueError, match="wrong"):
        inner(False)
    assert events == ["copy", "work", "read"]


def test_an_error_on_the_way_leaves_no_check_behind(events: list[str]) -> None:
    @deferring_checks
    def broken() -> None:
        require(lambda: on_device(False), lambda: ValueError("wrong"))
        raise KeyError

    with pytest.raises(KeyError):
        broken()
    with pytest.raises(ValueError, match="at once"):
        require(lambda: on_device(False), lambda: ValueError("at once"))
    assert events == ["copy"], "outside of a function that defers, the answer is read at once"


def test_on_a_cpu_a_wrong_value_stops_the_work_before_it_begins() -> None:
    model = WaveformVAE(4, (2,), (1,), 4, 2, 1, 8000)
    reached: list[str] = []
    model.encoder.register_forward_pre_hook(lambda *_: reached.append("encoder"))
    with pytest.raises(ValueError, match="1 values that are NaN"):
        model.encode(torch.tensor([[[0.0, float("nan")]]]))
    assert not reached


@pytest.mark.parametrize("call", ["encode", "forward", "decode"])
def test_models_defer_the_checks_of_a_call(events: list[str], monkeypatch: pytest.MonkeyPatch, call: str) -> None:
    from hf_audio_vae.models import inputs

    for module in (inputs, finite):
        monkeypatch.setattr(module, "all_finite", lambda tensor: on_device(bool(tensor.isfinite().all())))
    model = WaveformVAE(4, (2,), (1,), 4, 2, 1, 8000)
    network = model.decoder if call == "decode" else model.encoder
    network.register_forward_hook(lambda *_: events.append("work"))
    x = torch.zeros(1, 2 if call == "decode" else 1, 8)
    x[..., 3] = float("inf")
    with pytest.raises(ValueError, match="NaN or infinite"):
        getattr(model, call)(x)
    output = [] if call == "forward" else ["copy"]  # training has to see an output that is not finite
    assert events == ["copy", "work", *output, "read"]
