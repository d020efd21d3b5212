import pytest
import torch
from torch import Tensor
from transformers import EncodecConfig, EncodecModel

from hf_audio_vae.models.waveform_vqvae import convert_encodec
from hf_audio_vae.models.waveform_vqvae.configuration_waveform_vqvae import WaveformVQVAEConfig
from hf_audio_vae.models.waveform_vqvae.convert_encodec import from_encodec, load_encodec, save_encodec, to_encodec
from hf_audio_vae.models.waveform_vqvae.modeling_waveform_vqvae import WaveformVQVAE
from tests.models.contract import seeded
from tests.models.probes import spread_latents

# The published shapes, narrower; the one at 48 kHz for one segment.
PUBLISHED = {
    "24khz": {"target_bandwidths": [1.5, 3.0]},
    "32khz": {
        "target_bandwidths": [2.2],
        "sampling_rate": 32000,
        "upsampling_ratios": [8, 5, 4, 4],
        "use_causal_conv": False,
        "use_conv_shortcut": False,
        "codebook_size": 2048,
    },
    "48khz": {
        "target_bandwidths": [3.0, 6.0],
        "sampling_rate": 48000,
        "audio_channels": 2,
        "normalize": True,
        "norm_type": "time_group_norm",
        "use_causal_conv": False,
    },
    "two units": {"num_residual_layers": 2, "upsampling_ratios": [3, 2], "target_bandwidths": [200.0]},
}
# How the encodec package names a few layers of a model with two strides, and how transformers does.
ORIGINAL_NAMES = {
    "encoder.model.0.conv.conv.": "encoder.layers.0.conv.",
    "encoder.model.1.block.1.conv.conv.": "encoder.layers.1.block.1.conv.",
    "encoder.model.1.shortcut.conv.conv.": "encoder.layers.1.shortcut.conv.",
    "encoder.model.3.conv.conv.": "encoder.layers.3.conv.",
    "encoder.model.9.conv.conv.": "encoder.layers.9.conv.",
    "decoder.model.3.convtr.convtr.": "decoder.layers.3.conv.",
    "decoder.model.4.block.3.conv.conv.": "decoder.layers.4.block.3.conv.",
    "decoder.model.9.conv.conv.": "decoder.layers.9.conv.",
}


def random_encodec(**config: object) -> EncodecModel:
    """Every parameter and every codebook random."""
    encodec = EncodecModel(EncodecConfig(**{"num_filters": 4, "hidden_size": 8, "codebook_size": 1024} | config))
    generator = seeded()
    for parameter in encodec.parameters():
        parameter.data.add_(0.1 * torch.randn(parameter.shape, generator=generator))
    if encodec.config.norm_type == "weight_norm":
        last = encodec.encoder.layers[-1].conv
        length, x = last.parametrizations.weight.original0.data, noise(1, 1, 6400).float()
        spread_latents(encodec.encoder, length, last.bias.data, x)
    for name, buffer in encodec.quantizer.named_buffers():
        if not name.endswith("inited"):
            buffer.copy_(torch.randn(buffer.shape, generator=generator))
    return encodec.double().eval()


def noise(*shape: int) -> Tensor:
    return 0.3 * torch.randn(shape, generator=seeded(), dtype=torch.float64)


@torch.no_grad()
@pytest.mark.parametrize("name", PUBLISHED)
def test_codes_and_sound_are_those_of_transformers(name):
    encodec = random_encodec(**PUBLISHED[name])
    model = from_encodec(encodec).double()
    x = noise(2, model.config.audio_channels, 12 * model.hop_length)
    theirs = encodec.encode(x, bandwidth=encodec.config.target_bandwidths[-1])
    ours = model.encode(x)
    assert theirs.audio_codes.unique().numel() > 10
    assert torch.equal(ours.audio_codes, theirs.audio_codes[0])
    audio = encodec.decode(theirs.audio_codes, theirs.audio_scales).audio_values
    decoded = model.decode(ours.audio_codes, audio_scales=ours.audio_scales).audio_values
    torch.testing.assert_close(decoded, audio, rtol=0, atol=1e-10 * float(audio.abs().max()))


@torch.no_grad()
def test_short_signals_are_mirrored_as_encodec_does():
    encodec = random_encodec(upsampling_ratios=[2, 2], target_bandwidths=[300.0])
    model = from_encodec(encodec).double()
    for frames in range(1, 9):
        x = noise(1, 1, frames * model.hop_length)
        codes = encodec.encode(x, bandwidth=300.0).audio_codes
        assert torch.equal(model.encode(x).audio_codes, codes[0])
        audio = encodec.decode(codes, [None]).audio_values
        torch.testing.assert_close(model.decode(codes[0]).audio_values, audio, rtol=0, atol=1e-12)


@torch.no_grad()
@pytest.mark.parametrize("name", PUBLISHED)
def test_there_and_back_gives_the_same_weights(name, tmp_path):
    encodec = random_encodec(**PUBLISHED[name]).float()
    again = to_encodec(from_encodec(encodec))
    assert again.config.num_quantizers == encodec.config.num_quantizers
    assert again.state_dict().keys() == encodec.state_dict().keys()
    assert all(torch.equal(again.state_dict()[key], value) for key, value in encodec.state_dict().items())
    encodec.save_pretrained(tmp_path)
    loaded = load_encodec(tmp_path).state_dict()
    assert all(torch.equal(loaded[key], value) for key, value in from_encodec(encodec).state_dict().items())


def test_files_of_the_original_package(tmp_path, monkeypatch):
    config = EncodecConfig(num_filters=4, hidden_size=8, upsampling_ratios=[4, 2], target_bandwidths=[60.0])
    monkeypatch.setitem(convert_encodec.ORIGINALS, "encodec_24khz", config)
    model = from_encodec(
        random_encodec(num_filters=4, hidden_size=8, upsampling_ratios=[4, 2], target_bandwidths=[60.0])
    )
    path = tmp_path / "encodec_24khz-0123abcd.th"
    save_encodec(model, path)
    weights, named = torch.load(path, weights_only=True), to_encodec(model).state_dict()
    for theirs, ours in ORIGINAL_NAMES.items():
        assert torch.equal(weights[f"{theirs}weight_g"], named[f"{ours}parametrizations.weight.original0"])
        assert torch.equal(weights[f"{theirs}bias"], named[f"{ours}bias"])
    key = "_codebook.embed_avg"
    assert torch.equal(weights[f"quantizer.vq.layers.1.{key}"], named["quantizer.layers.1.codebook.embed_avg"])
    assert torch.equal(weights["decoder.model.1.lstm.bias_hh_l1"], named["decoder.layers.1.lstm.bias_hh_l1"])
    loaded = load_encodec(path).state_dict()
    assert all(torch.equal(loaded[name], value) for name, value in model.state_dict().items())
    unknown = path.rename(tmp_path / "weights.th")
    with pytest.raises(ValueError, match="weights.th does not identify an EnCodec"):
        load_encodec(unknown)


def test_the_gradient_reaches_the_encoder():
    model = from_encodec(random_encodec(upsampling_ratios=[4, 2], target_bandwidths=[60.0])).train()
    model(noise(1, 1, 80).float()).audio_values.square().mean().backward()
    assert all(parameter.grad.any() for parameter in model.encoder.parameters())


def test_segments_are_refused_and_so_are_other_ways_to_cut():
    for changes, message in (
        ({"chunk_length_s": 1.0, "overlap": 0.01}, "`chunk_length_s` 1.0.*segments are not supported"),
        ({"trim_right_ratio": 0.5}, "`trim_right_ratio` 0.5"),
        ({"codebook_dim": 4}, "`codebook_dim` 4"),
    ):
        with pytest.raises(ValueError, match=message):
            from_encodec(EncodecModel(EncodecConfig(num_filters=2, hidden_size=8, **changes)))


@pytest.mark.parametrize("count", range(1, 33))
def test_every_number_of_codebooks_has_a_bandwidth(count):
    config = WaveformVQVAEConfig(num_codebooks=count, sampling_rate=24000, downsampling_ratios=(2, 4, 5, 8))
    bandwidths = convert_encodec._bandwidths(config)
    assert EncodecConfig(target_bandwidths=bandwidths).num_quantizers == count


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"activation": "snake"}, "`activation` 'snake'"),
        ({"final_tanh": True}, "`final_tanh` True"),
        ({"codebook_dim": 3}, "`codebook_dim` 3"),
        ({"decoder_hidden_size": 12}, "`decoder_hidden_size` 12"),
        ({"decoder_last_kernel_size": 3}, "`decoder_last_kernel_size` 3"),
        ({"residual_dilations": (1, 3, 5)}, r"which has \(1, 3, 9\)"),
        ({"num_lstm_layers": 0}, "`num_lstm_layers` 0"),
        ({"codebook_size": 6}, "power of 2"),
    ],
)
def test_what_no_encodec_has_is_refused(changes, message):
    config = {"activation": "elu", "final_tanh": False, "cosine": False, "codebook_dim": None, "num_lstm_layers": 1}
    config |= {"encoder_hidden_size": 2, "decoder_hidden_size": 8, "downsampling_ratios": (2, 2), "hidden_size": 8}
    config |= {"encoder_last_kernel_size": 7, "codebook_size": 8, "num_codebooks": 2}
    assert isinstance(to_encodec(WaveformVQVAE(WaveformVQVAEConfig(**config))), EncodecModel)
    with pytest.raises(ValueError, match=message):
        to_encodec(WaveformVQVAE(WaveformVQVAEConfig(**config | changes)))


def test_unknown_keys_of_a_configuration_are_named():
    with pytest.raises(
        ValueError, match="the EnCodec has the unknown key final_activation, whose effect a conversion"
    ):
        from_encodec(random_encodec(final_activation="tanh"))
