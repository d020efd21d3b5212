"""What every family does with inputs of other kinds; inherited by the contracts of both kinds of families."""

import copy
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from hf_audio_vae.modules.distributions import DiagonalGaussian

SIGNALS = {
    "silence": torch.zeros_like,
    "dc": torch.ones_like,
    "full scale": torch.sign,
    "too loud": lambda x: 1e3 * x,
    "denormal": lambda x: 1e-30 * x,
}


def streams(model: Any) -> bool:
    try:
        model.streaming()
    except ValueError:
        return False
    return True


class InputsContract:
    """A subclass has `tiny_model`, `waveform` and `coded`."""

    tiny_model: Callable[..., Any]
    waveform: Callable[..., Tensor]

    def coded(self, model: Any, frames: int) -> Any:
        """Random inputs of `decode`."""
        raise NotImplementedError

    def calls(self, model: Any) -> list[Callable[[Any], Any]]:
        """All that take a waveform."""
        calls = [model, model.encode]
        if streams(model):
            calls.append(lambda x: model.streaming().encoder.push(x))
        if hasattr(model, "encode_chunks"):
            calls.append(lambda x: list(model.encode_chunks(lambda start, stop: x, 30 * model.hop_length)))
        return calls

    def test_what_is_no_tensor_is_refused_with_the_function_that_makes_one(self):
        model = self.tiny_model()
        x, coded = self.waveform(30 * model.hop_length), self.coded(model, 3)
        wrong = {"ndarray": x.numpy(), "list": x.tolist(), "NoneType": None, "str": "sound.wav"}
        for kind, value in wrong.items():
            for call in self.calls(model):
                with pytest.raises(ValueError, match=f"`waveform` is a {kind}, not a tensor.*torch"):
                    call(value)
        arrays = tuple(level.numpy() for level in coded) if isinstance(coded, tuple) else coded.numpy()
        for value in (arrays, None, "codes"):
            with pytest.raises(ValueError, match=r"is a \w+(, not a tensor; convert it|; pass a tuple)"):
                model.decode(value)
        with pytest.raises(ValueError, match="`waveform` has the layout .*to_dense"):
            model.encode(x.to_sparse())

    @torch.no_grad()
    def test_floats_of_another_precision_are_taken(self):
        model = self.tiny_model()
        x = self.waveform(30 * model.hop_length).half()  # exact in every precision but bfloat16
        expected = model(x.float()).sample
        for dtype in (torch.float16, torch.float64):
            sample = model(x.to(dtype)).sample
            assert sample.dtype == torch.float32
            assert torch.equal(sample, expected)
            for call in self.calls(model):
                call(x.to(dtype))

    def test_numbers_are_integers_of_python_or_numpy(self):
        model = self.tiny_model()
        x = self.waveform(3 * model.hop_length)
        model.encode(x, sampling_rate=np.int64(model.sampling_rate))
        model.enable_tiling(np.int64(2)) if streams(model) else None
        for wrong in ("2", 2.5, True, 0, -1):
            with pytest.raises(ValueError, match="`tile_frames` is"):
                model.enable_tiling(wrong)

    @torch.no_grad()
    @pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
    @pytest.mark.parametrize("is_fused", [False, True])
    def test_half_precision_gives_finite_sound_or_one_line(self, dtype, is_fused):
        model = self.tiny_model().to(dtype)
        if is_fused:
            model.fuse()
        noise = self.waveform(20 * model.hop_length)
        for name, signal in SIGNALS.items():
            x = signal(noise).to(dtype)
            output = model(x)
            values = [output.sample, *output.losses.values()]
            if name != "too loud":
                assert all(value.isfinite().all() for value in values), name
            try:
                encoded = model.encode(x, return_dict=False)
                scales = {"audio_scales": encoded[-1]} if model.codes_need_scales else {}
                coded = encoded[0].mode() if isinstance(encoded[0], DiagonalGaussian) else encoded[0]
                assert model.decode(coded, **scales, return_dict=False)[0].isfinite().all(), name
            except ValueError as error:
                assert name == "too loud"
                assert "NaN or infinite" in str(error)

    @torch.no_grad()
    def test_weights_that_are_not_finite_are_an_error_of_encode_and_decode(self):
        healthy = self.tiny_model()
        x, coded = self.waveform(20 * healthy.hop_length), self.coded(healthy, 3)
        for is_fused in (False, True):
            for part, call in (("encod", lambda model: model.encode(x)), ("decod", lambda model: model.decode(coded))):
                model = copy.deepcopy(healthy)
                for name, parameter in model.named_parameters():
                    if name.startswith(part):
                        parameter.flatten()[0] = torch.nan
                if is_fused:
                    model.fuse()
                with pytest.raises(ValueError, match="NaN or infinite"):
                    call(model)
        assert not model(x).sample.isfinite().all()  # training has to see it

    def test_inputs_without_values_are_refused(self):
        model = self.tiny_model()
        x, coded = self.waveform(20 * model.hop_length), self.coded(model, 3)
        without = [codes.to("meta") for codes in coded] if isinstance(coded, list | tuple) else coded.to("meta")
        for is_fused in (False, True):
            if is_fused:
                model.fuse()
            for call in (
                lambda: model.encode(x.to("meta")),
                lambda: model.decode(without),
                lambda: model(x.to("meta")),
            ):
                with pytest.raises(ValueError, match="the input is on the device meta, which holds no values"):
                    call()

    def test_a_stream_of_weights_that_are_not_finite_is_an_error(self):
        model = self.tiny_model()
        if not streams(model):
            pytest.skip("the model depends on the whole signal")
        for parameter in model.parameters():
            parameter.data.flatten()[0] = torch.nan
        streaming = model.streaming()
        with pytest.raises(ValueError, match="NaN or infinite"):
            streaming.encoder.push(self.waveform(400 * model.hop_length))
