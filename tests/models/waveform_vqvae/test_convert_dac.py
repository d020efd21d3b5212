import pytest
import torch
from torch import Tensor
from transformers import DacConfig, DacModel

from hf_audio_vae.models.waveform_vqvae.configuration_waveform_vqvae import WaveformVQVAEConfig
from hf_audio_vae.models.waveform_vqvae.convert_dac import from_dac, load_dac, save_dac, to_dac
from hf_audio_vae.models.waveform_vqvae.modeling_waveform_vqvae import WaveformVQVAE
from tests.models.contract import seeded

# The published shapes, narrower: strides, codebooks and their dimension.
PUBLISHED = {
    "16khz": {"downsampling_ratios": [2, 4, 5, 8], "n_codebooks": 12, "sampling_rate": 16000},
    "24khz": {"downsampling_ratios": [2, 4, 5, 8], "n_codebooks": 32, "sampling_rate": 24000},
    "44khz": {"downsampling_ratios": [2, 4, 8, 8], "n_codebooks": 9, "sampling_rate": 44100},
}
# How descript-audio-codec names a few layers of a model with two strides, and how transformers does.
ORIGINAL_NAMES = {
    "encoder.block.0.": "encoder.conv1.",
    "encoder.block.1.block.0.block.0.": "encoder.block.0.res_unit1.snake1.",
    "encoder.block.2.block.2.block.3.": "encoder.block.1.res_unit3.conv2.",
    "encoder.block.2.block.3.": "encoder.block.1.snake1.",
    "encoder.block.2.block.4.": "encoder.block.1.conv1.",
    "encoder.block.3.": "encoder.snake1.",
    "encoder.block.4.": "encoder.conv2.",
    "decoder.model.0.": "decoder.conv1.",
    "decoder.model.1.block.0.": "decoder.block.0.snake1.",
    "decoder.model.1.block.1.": "decoder.block.0.conv_t1.",
    "decoder.model.2.block.2.block.1.": "decoder.block.1.res_unit1.conv1.",
    "decoder.model.2.block.4.block.2.": "decoder.block.1.res_unit3.snake2.",
    "decoder.model.3.": "decoder.snake1.",
    "decoder.model.4.": "decoder.conv2.",
    "quantizer.quantizers.1.in_proj.": "quantizer.quantizers.1.in_proj.",
}


def random_dac(**config: object) -> DacModel:
    """Every parameter random, Snake's some of them negative."""
    dac = DacModel(
        DacConfig(encoder_hidden_size=2, decoder_hidden_size=32, codebook_size=64, codebook_dim=4, **config)
    )
    generator = seeded()
    for parameter in dac.parameters():
        parameter.data.add_(0.1 * torch.randn(parameter.shape, generator=generator))
    dac.encoder.snake1.alpha.data[0, 0] = -0.5
    return dac.double().eval()


def noise(*shape: int) -> Tensor:
    return 0.3 * torch.randn(shape, generator=seeded(), dtype=torch.float64)


@torch.no_grad()
@pytest.mark.parametrize("name", PUBLISHED)
def test_codes_and_sound_are_those_of_transformers(name):
    dac = random_dac(**PUBLISHED[name])
    model = from_dac(dac).double()
    x = noise(2, 1, 12 * model.hop_length)
    codes = dac.encode(x).audio_codes
    assert codes.unique().numel() > 10
    assert torch.equal(model.encode(x).audio_codes, codes)
    theirs, ours = dac.decode(audio_codes=codes).audio_values, model.decode(codes).audio_values[:, 0]
    known = theirs.shape[-1] - (4 * model.hop_length if 5 in PUBLISHED[name]["downsampling_ratios"] else 0)
    torch.testing.assert_close(
        ours[..., :known], theirs[..., :known], rtol=0, atol=1e-6 * float(theirs.abs().max())
    )  # fused weights are split in float32
    assert ours.shape[-1] == x.shape[-1]


def test_the_gradient_reaches_the_encoder():
    model = from_dac(random_dac(downsampling_ratios=[2, 4])).train()
    model(noise(1, 1, 80).float()).audio_values.square().mean().backward()
    assert all(parameter.grad.any() for parameter in model.encoder.parameters())


@torch.no_grad()
def test_there_and_back_gives_the_same_weights(tmp_path):
    dac = random_dac(**PUBLISHED["44khz"]).float()
    again = to_dac(from_dac(dac))
    assert again.config.to_diff_dict() == dac.config.to_diff_dict()
    for name, value in dac.state_dict().items():
        torch.testing.assert_close(again.state_dict()[name], value)
    dac.save_pretrained(tmp_path)
    x = noise(1, 1, 4096).float()
    assert torch.equal(load_dac(tmp_path).encode(x).audio_codes, from_dac(dac).encode(x).audio_codes)


def test_files_of_the_original_package(tmp_path):
    model = from_dac(random_dac(downsampling_ratios=[2, 4], n_codebooks=2))
    path = tmp_path / "weights.pth"
    save_dac(model, path)
    content = torch.load(path, weights_only=True)
    weights, fused = content["state_dict"], to_dac(model).state_dict()
    for theirs, ours in ORIGINAL_NAMES.items():
        if "snake" in ours:
            assert torch.equal(weights[f"{theirs}alpha"], fused[f"{ours}alpha"])
        else:
            length = weights[f"{theirs}weight_v"].flatten(1).norm(dim=1)[:, None, None]
            weight = weights[f"{theirs}weight_v"] * weights[f"{theirs}weight_g"] / length
            torch.testing.assert_close(weight, fused[f"{ours}weight"])
    assert content["metadata"]["kwargs"]["decoder_rates"] == [4, 2]
    loaded = load_dac(path)
    assert loaded.config.to_dict() == model.config.to_dict()
    assert all(torch.equal(loaded.state_dict()[name], value) for name, value in model.state_dict().items())
    with pytest.raises(ValueError, match="would be overwritten"):
        save_dac(model, path)


def test_a_file_that_is_no_dac_is_refused(tmp_path):
    path = tmp_path / "weights.pth"
    for content, message in (
        ({"state_dict": {}}, "is not a DAC"),
        ([1], "holds a list"),
        ({"state_dict": {}, "metadata": {"kwargs": {"codebook_dim": [8, 4]}}}, "one dimension for all"),
        ({"state_dict": {}, "metadata": {"kwargs": {"encoder_rates": [2]}}}, "`decoder_rates`"),
        ({"state_dict": {}, "metadata": {"kwargs": {"encoder_dim": 2, "decoder_dim": 16}}}, "missing from the"),
    ):
        torch.save(content, path)
        with pytest.raises(ValueError, match=message):
            load_dac(path)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"audio_channels": 2}, "`audio_channels` 2 .* which has 1"),
        ({"causal": True}, "`causal` True"),
        ({"stft_options": {"hidden_sizes": [8, 8], "num_blocks": [1, 1]}}, "`stft_options` .* which has None"),
        ({"quantizer": "residual_vector"}, "`quantizer` 'residual_vector' .* which has None"),
        ({"hidden_size": 7}, "`hidden_size` 7 .* which has 8"),
        ({"codebook_dim": None}, "`codebook_dim` None"),
        ({"codebook_size": 6}, "power of 2"),
        ({"residual_dilations": (1, 3)}, r"`residual_dilations` \(1, 3\)"),
    ],
)
def test_what_no_dac_has_is_refused(changes, message):
    config = {"encoder_hidden_size": 2, "decoder_hidden_size": 8, "downsampling_ratios": (2, 2), "hidden_size": 8}
    config |= {"codebook_size": 8, "codebook_dim": 2, "num_codebooks": 2}
    assert isinstance(to_dac(WaveformVQVAE(WaveformVQVAEConfig(**config))), DacModel)
    with pytest.raises(ValueError, match=message):
        to_dac(WaveformVQVAE(WaveformVQVAEConfig(**config | changes)))


def test_unknown_keys_of_a_configuration_are_named(tmp_path):
    with pytest.raises(ValueError, match="configuration of the DAC has the unknown key decoder_groups, whose effect"):
        from_dac(random_dac(decoder_groups=2))
    save_dac(from_dac(random_dac()), tmp_path / "weights.pth")
    content = torch.load(tmp_path / "weights.pth")
    content["metadata"]["kwargs"] |= {"attn_window_size": 8, "causal": True}
    torch.save(content, tmp_path / "weights.pth")
    with pytest.raises(ValueError, match="unknown keys attn_window_size, causal, whose effect"):
        load_dac(tmp_path / "weights.pth")
