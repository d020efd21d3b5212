from typing import Any

import pytest
import torch
from diffusers import AutoencoderKLLTX2Audio

from hf_audio_vae import SpectrogramVAE
from hf_audio_vae.models.spectrogram_vae.convert_ltx2_audio import from_ltx2_audio, to_ltx2_audio
from tests.models.probes import seeded
from tests.models.saved_contract import equal_weights
from tests.models.spectrogram_vae.test_spectrograms import model_of

SIZES = {"ch_mult": (1, 2, 3), "num_res_blocks": 2, "latent_channels": 2, "mel_bins": 16}


def theirs(**changes: Any) -> AutoencoderKLLTX2Audio:
    torch.manual_seed(0)
    vae = AutoencoderKLLTX2Audio(8, **{**SIZES, **changes})
    for parameter in vae.parameters():
        parameter.data.add_(0.1 * torch.randn(parameter.shape, generator=seeded()))
    vae.latents_mean.copy_(torch.arange(8.0))
    vae.latents_std.copy_(torch.arange(1.0, 9.0))
    return vae.eval()


@pytest.mark.parametrize(("axis", "lengths"), [("height", (1, 5, 9, 61)), ("none", (4, 8, 60))])
@torch.no_grad()
def test_latents_and_spectrograms_are_those_of_diffusers_for_lengths_that_it_keeps(axis: str, lengths) -> None:
    vae = theirs(causality_axis=axis)
    model = from_ltx2_audio(vae)
    for frames in lengths:
        mel = torch.randn(2, 2, frames, 16, generator=seeded())
        posterior, expected = model.encode(mel).latent_dist, vae.encode(mel).latent_dist
        for actual, wanted in ((posterior.mean, expected.mean), (posterior.std, expected.std)):
            torch.testing.assert_close(actual, wanted, rtol=0, atol=1e-5 * float(wanted.abs().max()))
        latents = posterior.mean
        decoded = vae.decode(latents).sample
        assert decoded.shape[2] == 4 * latents.shape[2] - 3  # diffusers cuts those that are not causal, too
        actual = model.decode(latents).sample[:, :, : decoded.shape[2]]
        torch.testing.assert_close(actual, decoded, rtol=0, atol=1e-5 * float(decoded.abs().max()))


def test_the_statistics_of_packed_latents_are_kept() -> None:
    vae = theirs()
    model = from_ltx2_audio(vae)
    assert torch.equal(model.latents_mean, vae.latents_mean)
    assert torch.equal(model.latents_std, vae.latents_std)
    vae.latents_mean.zero_()
    vae.latents_std.fill_(1)
    assert from_ltx2_audio(vae).config.latents_mean is None


@pytest.mark.parametrize("changes", [{}, {"causality_axis": "none"}, {"ch_mult": (1, 1), "mel_bins": 8}], ids=str)
def test_there_and_back_the_weights_and_the_configuration_are_equal(changes: dict[str, Any]) -> None:
    vae = theirs(**changes)
    again = to_ltx2_audio(from_ltx2_audio(vae))
    assert equal_weights(again, vae)
    for name in vae.config.keys() - {"is_causal", "_use_default_values"}:  # they change nothing
        assert again.config[name] == vae.config[name], name


def test_the_dtype_is_kept() -> None:
    model = from_ltx2_audio(theirs().to(torch.bfloat16))
    assert model.dtype == to_ltx2_audio(model).dtype == torch.bfloat16


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"norm_type": "group", "causality_axis": "none"}, "`norm_type` 'group'"),
        ({"mid_block_add_attention": True}, "`mid_block_add_attention` True"),
        ({"attn_resolutions": (64,)}, r"`attn_resolutions` .*no attention"),
        ({"causality_axis": "width"}, "`causality_axis` 'width' is not that of time"),
        ({"ch_mult": (2, 2, 4)}, r"`ch_mult` .*2, 2, 4.*a first multiple of 1"),
        ({"in_channels": 1}, "`in_channels` 1, `output_channels` 2"),
    ],
)
def test_a_model_that_cannot_be_expressed_is_refused(changes: dict[str, Any], message: str) -> None:
    torch.manual_seed(0)
    with pytest.raises(ValueError, match=message):
        from_ltx2_audio(AutoencoderKLLTX2Audio(32, **{**SIZES, **changes}))


@pytest.mark.parametrize(
    ("kind", "changes", "message"),
    [
        ("complex", {}, "needs `front_end` 'mel'"),
        ("classic mel", {}, "needs `network` 'residual'"),
        ("mel", {}, "needs `log_variance`"),
        ("mel", {"log_variance": True, "downsampling_ratios": (16, 3)}, "needs strides of 2"),
        (
            "mel",
            {"log_variance": True, "causal": True, "bin_ratios": (1, 2)},
            "needs equal `causal` and `leading_frame`",
        ),
    ],
)
def test_ours_that_diffusers_cannot_express_are_refused(kind: str, changes: dict[str, Any], message: str) -> None:
    model: SpectrogramVAE = model_of(kind, **changes)
    with pytest.raises(ValueError, match=message):
        to_ltx2_audio(model)


def with_front_end(**changes: Any) -> SpectrogramVAE:
    """A model that diffusers can express, but for its front end."""
    model = from_ltx2_audio(theirs())
    return SpectrogramVAE(**{name: model.config[name] for name in SpectrogramVAE.argument_defaults()} | changes)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"max_frequency_hz": 4000.0}, "needs mel filters up to half the sampling rate"),
        ({"min_frequency_hz": 50.0}, "needs mel filters up to half the sampling rate"),
        ({"pad_mode": "reflect"}, "needs `pad_mode` 'constant'"),
        ({"power_offset": 1e-9}, "needs `power_offset` 0"),
    ],
)
def test_another_front_end_is_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        to_ltx2_audio(with_front_end(**changes))


def test_a_window_that_is_left_out_is_named(caplog: pytest.LogCaptureFixture) -> None:
    to_ltx2_audio(with_front_end())
    assert not caplog.records
    to_ltx2_audio(with_front_end(window_length=512))
    assert "`window_length` 512 is left out" in caplog.text
