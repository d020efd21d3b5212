import inspect

import pytest
import torch
from diffusers import AutoencoderOobleck
from torch import Tensor

from hf_audio_vae import WaveformVAE
from hf_audio_vae.models.waveform_vae.convert_waveform_vae import to_oobleck


def model_of(**changes) -> WaveformVAE:
    config = {
        "encoder_hidden_size": 8,
        "downsampling_ratios": (2, 4),
        "channel_multiples": (1, 2),
        "decoder_channels": 6,
        "decoder_input_channels": 4,
        "audio_channels": 1,
        "sampling_rate": 16000,
    }
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = WaveformVAE(**{**config, **changes}).eval()
        for parameter in model.parameters():
            parameter.data.add_(0.1 * torch.randn_like(parameter))
    return model


def noise(*shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(0))


@torch.no_grad()
def test_a_copy_written_by_diffusers_gives_the_same_and_comes_back_whole(tmp_path):
    model = model_of(audio_channels=2)
    to_oobleck(model).save_pretrained(tmp_path)
    x = noise(1, 2, 80)
    oobleck, back = AutoencoderOobleck.from_pretrained(tmp_path), WaveformVAE.from_pretrained(tmp_path)
    expected = model(x).sample
    rounding = 1e-5 * float(expected.abs().max())
    torch.testing.assert_close(oobleck(x).sample, expected, rtol=0, atol=rounding)
    assert torch.equal(back(x).sample, expected)
    for name in inspect.signature(WaveformVAE.__init__).parameters.keys() - {"self"}:
        value = back.config[name]  # sequences come back from JSON as lists
        assert (tuple(value) if isinstance(value, list) else value) == model.config[name]


def test_a_copy_shares_no_memory_with_the_model():
    model = model_of()
    copied = {value.data_ptr() for value in to_oobleck(model).state_dict().values()}
    assert copied.isdisjoint(value.data_ptr() for value in model.state_dict().values())


def test_a_copy_keeps_dtype_and_weights_and_is_not_training():
    model = model_of().to(torch.bfloat16).train()
    oobleck = to_oobleck(model)
    assert oobleck.dtype == torch.bfloat16
    assert not oobleck.training
    assert model.training
    assert all(torch.equal(value, model.state_dict()[name]) for name, value in oobleck.state_dict().items())


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"causal": True}, "`causal=True` cannot be written.*pads on both sides"),
        ({"downsampling_ratios": (2, 5)}, r"odd strides \[5\] cannot be written.*drops samples"),
        ({"encoder_hidden_size": 6}, "`encoder_hidden_size` 6 cannot be written.*twice.*8"),
    ],
)
def test_what_oobleck_cannot_express_is_refused_with_the_reason(changes, reason):
    with pytest.raises(ValueError, match=reason):
        to_oobleck(model_of(**changes))


def test_statistics_are_left_out_with_a_warning(caplog):
    to_oobleck(model_of())
    assert not caplog.records
    oobleck = to_oobleck(model_of(latents_mean=(1.0,) * 4, latents_std=(2.0,) * 4))
    assert "`latents_mean` and `latents_std` are left out: an AutoencoderOobleck" in caplog.text
    assert "latents_mean" not in oobleck.config
