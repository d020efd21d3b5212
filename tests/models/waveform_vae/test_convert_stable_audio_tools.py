"""Against the layout of stable-audio-tools written out: sequences in sequences, (channels,) parameters of Snake."""

import json
import math

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from torch.nn.utils import parametrizations, weight_norm

from hf_audio_vae import WaveformVAE
from hf_audio_vae.models.waveform_vae.convert_stable_audio_tools import (
    from_stable_audio_tools,
    load_stable_audio_tools,
    save_stable_audio_tools,
    to_stable_audio_tools,
)
from hf_audio_vae.models.waveform_vae.convert_stable_audio_tools_config import read_config
from tests.models.waveform_vae.stable_audio_tools import Reference, config_of, within_diffusion


def model_of(**changes: object) -> WaveformVAE:
    arguments = {**read_config(config_of()), **changes}
    return WaveformVAE(**arguments)


def noise(*shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(0))


def assert_equal_but_for_rounding(actual: Tensor, expected: Tensor) -> None:
    torch.testing.assert_close(actual, expected, rtol=0, atol=1e-5 * float(expected.abs().max()))


def assert_has_weights_of(model: WaveformVAE, reference: Reference) -> None:
    weights, _ = to_stable_audio_tools(model)
    expected = reference.state_dict()
    assert weights.keys() == expected.keys()
    assert all(torch.equal(weights[name], expected[name]) for name in expected)


@pytest.mark.parametrize("norm", [weight_norm, parametrizations.weight_norm])
@pytest.mark.parametrize(("strides", "audio_channels"), [((4,), 1), ((2, 4), 2), ((2, 4, 4, 8, 8), 2)])
@torch.no_grad()
def test_a_converted_model_gives_the_reference_s_numbers(strides, audio_channels, norm):
    config = config_of(strides, audio_channels)
    reference = Reference(config, norm)
    model = from_stable_audio_tools(reference.state_dict(), config)
    x, z = noise(2, audio_channels, 5 * math.prod(strides)), noise(2, 3, 5)
    posterior = model.encode(x).latent_dist
    mean, std = reference.encode(x)
    assert_equal_but_for_rounding(posterior.mean, mean)
    assert_equal_but_for_rounding(posterior.std, std)
    assert_equal_but_for_rounding(model.decode(z).sample, reference.decoder(z))
    assert not model.training
    assert model.sampling_rate == 16000


@pytest.mark.parametrize("strides", [(3,), (2, 5), (5, 2), (3, 5)])
@torch.no_grad()
def test_odd_strides_encode_the_same_and_decode_the_same_up_to_the_last_frame(strides):
    config = config_of(strides)
    reference = Reference(config)
    model = from_stable_audio_tools(reference.state_dict(), config)
    frames = 200 // len(strides)
    x, z = noise(1, 1, frames * model.hop_length), noise(1, 3, frames)
    assert_equal_but_for_rounding(model.encode(x).latent_dist.mean, reference.encode(x)[0])
    decoded, expected = model.decode(z).sample, reference.decoder(z)
    assert expected.shape[-1] < decoded.shape[-1] == x.shape[-1]
    # What is dropped lies under the last frame; only samples that read it can differ.
    stop = next(n for n in range(x.shape[-1], 0, -1) if model.decoder.input_span(0, n)[1] < frames)
    assert stop > x.shape[-1] / 2
    assert_equal_but_for_rounding(decoded[..., :stop], expected[..., :stop])


@torch.no_grad()
def test_a_stride_of_1_encodes_the_same_up_to_the_end():
    config = config_of((2, 1))
    reference = Reference(config)
    model = from_stable_audio_tools(reference.state_dict(), config)
    x = noise(1, 1, 40)
    actual, expected = model.encode(x).latent_dist.mean, reference.encode(x)[0]
    assert (actual.shape[-1], expected.shape[-1]) == (20, 21)
    assert_equal_but_for_rounding(actual[..., :-1], expected[..., :-2])  # the last layer reads one frame ahead


@pytest.mark.parametrize("ending", [".ckpt", ".safetensors"])
@pytest.mark.parametrize(
    "prefixes",
    [
        [""],
        ["pretransform.model."],
        ["diffusion.pretransform.model."],
        ["autoencoder."],
        ["autoencoder_ema.ema_model."],
        ["autoencoder.", "autoencoder_ema.online_model.", "autoencoder_ema.ema_model.", "teacher_model."],
    ],
)
def test_the_autoencoder_is_found_in_any_checkpoint_and_its_average_preferred(prefixes, ending, tmp_path):
    config = config_of()
    references = {prefix: Reference(config, seed=seed) for seed, prefix in enumerate(prefixes)}
    weights = {p + name: value for p, one in references.items() for name, value in one.state_dict().items()}
    weights |= {"discriminator.encoder.weight": torch.zeros(1), "diffusion.model.decoder.weight": torch.zeros(1)}
    path = tmp_path / f"step=1{ending}"
    if ending == ".ckpt":
        torch.save({"state_dict": weights, "epoch": 3, "optimizer_states": [{"state": {0: torch.zeros(1)}}]}, path)
    else:
        save_file(weights, path)
    (tmp_path / "model_config.json").write_text(json.dumps(config))
    preferred = "autoencoder_ema.ema_model." if len(prefixes) > 1 else prefixes[0]
    assert_has_weights_of(load_stable_audio_tools(path), references[preferred])


def test_a_half_precision_checkpoint_becomes_float32():
    reference = Reference(config_of()).half()
    model = from_stable_audio_tools(reference.state_dict(), config_of())
    assert model.dtype == torch.float32
    assert_has_weights_of(model, reference.float())


@pytest.mark.parametrize("name", ["", "vae.safetensors", "vae.ckpt"])
def test_a_written_model_comes_back_bit_equal(name, tmp_path):
    model = from_stable_audio_tools(Reference(config_of()).state_dict(), config_of())
    save_stable_audio_tools(model, tmp_path / "new" / name)
    back = load_stable_audio_tools(tmp_path / "new" / name)
    assert all(torch.equal(value, model.state_dict()[key]) for key, value in back.state_dict().items())
    assert read_config(json.loads((tmp_path / "new/model_config.json").read_text())) == read_config(config_of())
    assert {key: back.config[key] for key in read_config(config_of())} == read_config(config_of())


@torch.no_grad()
def test_stable_audio_tools_builds_the_written_model(tmp_path):
    model = from_stable_audio_tools(Reference(config_of(audio_channels=2)).state_dict(), config_of(audio_channels=2))
    save_stable_audio_tools(model, tmp_path)
    written = json.loads((tmp_path / "model_config.json").read_text())
    training = {"training": {"learning_rate": 1e-4}, "sample_size": 1024}
    assert {**written, **training} == config_of(audio_channels=2)
    built = Reference(written, seed=1)
    built.load_state_dict(load_file(tmp_path / "model.safetensors"))
    z = noise(1, 3, 5)
    assert_equal_but_for_rounding(built.decoder(z), model.decode(z).sample)


def test_written_weights_are_views_of_the_model_s():
    model = model_of()
    written = [value.data_ptr() for value in to_stable_audio_tools(model)[0].values()]
    assert written == [value.data_ptr() for value in model.state_dict().values()]


def test_missing_keys_have_stable_audio_tools_defaults():
    config = config_of()
    config["model"]["encoder"]["config"] = {"use_snake": True, "latent_dim": 64}
    config["model"]["decoder"]["config"] = {"use_snake": True, "final_tanh": False}
    del config["model"]["latent_dim"]
    config["model"] |= {"downsampling_ratio": 512, "io_channels": 2}
    assert read_config(config) == {
        "encoder_hidden_size": 128,
        "downsampling_ratios": (2, 4, 8, 8),
        "channel_multiples": (1, 2, 4, 8),
        "decoder_channels": 128,
        "decoder_input_channels": 32,
        "audio_channels": 2,
        "sampling_rate": 16000,
        "latents_mean": None,
        "latents_std": None,
    }


def test_the_scale_of_a_diffusion_model_is_what_latents_are_divided_by():
    weights = {f"pretransform.model.{name}": value for name, value in Reference(config_of()).state_dict().items()}
    z = noise(1, 3, 5)
    scaled = from_stable_audio_tools(weights, within_diffusion(config_of(), scale=2.5, model_half=True))
    assert torch.equal(scaled.normalize_latents(z), z / 2.5)
    for plain in (within_diffusion(config_of()), within_diffusion(config_of(), scale=1), config_of()):
        assert from_stable_audio_tools(weights, plain).config.latents_std is None


@pytest.mark.parametrize(
    ("place", "change", "reason"),
    [
        ("", {"model_type": "lm"}, "`model_type` is 'lm'.*read from autoencoder, diffusion_uncond"),
        ("", {"model_type": "diffusion_uncond"}, "no section `model.pretransform`"),
        ("", {"sample_rate": None}, "`sample_rate` is None"),
        ("model", {"encoder": None}, "no section `encoder`"),
        ("model", {"bottleneck": None}, "`bottleneck.type` is None.*requires 'vae'"),
        ("model", {"bottleneck": {"type": "rvq_vae", "config": {}}}, "`bottleneck.type` is 'rvq_vae'"),
        ("model", {"pretransform": {"type": "pqmf"}}, "`pretransform` is.*pqmf.*codes the waveform itself"),
        ("model", {"latent_dim": 6}, "`latent_dim` is 6.*requires 3"),
        ("model", {"downsampling_ratio": 16}, "`downsampling_ratio` is 16.*requires 8"),
        ("model", {"io_channels": 2}, "`io_channels` is 2.*requires 1"),
        ("model", {"out_channels": 2}, "`out_channels` is 2.*requires 1"),
        ("model.encoder", {"type": "dac"}, "`encoder.type` is 'dac'.*requires 'oobleck'"),
        ("model.decoder", {"type": "taae"}, "`decoder.type` is 'taae'"),
        ("model.decoder", {"soft_clip": True}, "`decoder.soft_clip` is True"),
        ("model.decoder.config", {"final_tanh": True}, "`decoder.config.final_tanh` is True"),
        ("model.decoder.config", {"final_tanh": ...}, "`decoder.config.final_tanh by default` is True"),
        ("model.encoder.config", {"use_snake": ...}, "`encoder.config.use_snake by default` is False"),
        ("model.decoder.config", {"use_snake": False}, "`decoder.config.use_snake` is False"),
        ("model.encoder.config", {"antialias_activation": True}, "`encoder.config.antialias_activation` is True"),
        ("model.decoder.config", {"antialias_activation": True}, "`decoder.config.antialias_activation` is True"),
        ("model.decoder.config", {"use_nearest_upsample": True}, "`decoder.config.use_nearest_upsample` is True"),
        ("model.decoder.config", {"out_channels": 2}, "`decoder.config.out_channels` is 2.*requires 1"),
        ("model.encoder.config", {"latent_dim": 3}, "`encoder.config.latent_dim` is 3.*requires 6"),
        ("model.decoder.config", {"strides": [4, 2]}, r"`decoder.config.strides` is \[4, 2\].*requires \[2, 4\]"),
        ("model.decoder.config", {"c_mults": [1, 3]}, r"`decoder.config.c_mults` is \[1, 3\].*requires \[1, 2\]"),
        ("model.encoder.config", {"dilations": [1, 3]}, "`encoder.config` has the unknown key 'dilations'"),
        ("model.encoder.config", {"channels": "5"}, "`encoder.config.channels` is '5'.*such as 128"),
        ("model.encoder.config", {"strides": ["2"]}, r"`encoder.config.strides` is \['2'\]"),
    ],
)
def test_what_a_waveform_vae_cannot_express_is_refused_with_the_reason(place, change, reason):
    config = config_of()
    section = config
    for key in filter(None, place.split(".")):
        section = section[key]
    section.update(change)
    for key in [key for key, value in change.items() if value is ...]:
        del section[key]
    with pytest.raises(ValueError, match=reason):
        read_config(config)


@pytest.mark.parametrize("scale", [0, -1.0, math.inf, "2", True])
def test_a_scale_that_cannot_divide_is_refused(scale):
    with pytest.raises(ValueError, match=f"`model.pretransform.scale` is {scale!r}; a positive number"):
        read_config(within_diffusion(config_of(), scale=scale))


def test_other_pretransforms_are_refused():
    with pytest.raises(ValueError, match="`model.pretransform.type` is 'dac_pretrained'"):
        read_config(within_diffusion(config_of()) | {"model": {"pretransform": {"type": "dac_pretrained"}}})


def test_weights_that_do_not_fit_the_configuration_are_refused():
    weights = Reference(config_of()).state_dict()
    with pytest.raises(ValueError, match="encoder.layers.3.alpha is missing from the checkpoint"):
        from_stable_audio_tools({k: v for k, v in weights.items() if k != "encoder.layers.3.alpha"}, config_of())
    with pytest.raises(ValueError, match="encoder.layers.0.weight is unknown to the configuration"):
        from_stable_audio_tools(weights | {"encoder.layers.0.weight": torch.zeros(1)}, config_of())
    other = config_of()
    other["model"]["encoder"]["config"]["channels"] = 6
    with pytest.raises(ValueError, match=r"encoder.layers.0.\w+ has the shape \(5.*the configuration requires \(6"):
        from_stable_audio_tools(weights, other)
    with pytest.raises(ValueError, match="holds no autoencoder"):
        from_stable_audio_tools({f"teacher.{name}": value for name, value in weights.items()}, config_of())


def test_the_configuration_is_the_one_named_or_beside_or_in_the_checkpoint(tmp_path):
    def named_by_its_rate(sampling_rate: int) -> dict:
        return {**config_of(), "sample_rate": sampling_rate}

    content = {"state_dict": Reference(config_of()).state_dict(), "model_config": named_by_its_rate(1000)}
    torch.save(content, tmp_path / "model.ckpt")
    assert load_stable_audio_tools(tmp_path).sampling_rate == 1000
    (tmp_path / "model_config.json").write_text(json.dumps(named_by_its_rate(2000)))
    assert load_stable_audio_tools(tmp_path).sampling_rate == 2000
    (tmp_path / "other.json").write_text(json.dumps(named_by_its_rate(3000)))
    assert load_stable_audio_tools(tmp_path, config=tmp_path / "other.json").sampling_rate == 3000


class Pickled:
    """What only `weights_only=False` would load."""


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("a.ckpt", {"state_dict": {}, "callback": Pickled()}, "a.ckpt.*needs pickled objects.*save only"),
        ("a.ckpt", [1], "a.ckpt holds a list instead of a dictionary"),
        ("a.ckpt", {"state_dict": 1}, "a.ckpt holds a dict without a state dict"),
        ("a.ckpt", b"", "a.ckpt is damaged"),
        ("a.ckpt", b"hello, no checkpoint", "a.ckpt is damaged"),
        ("a.ckpt", b"PK\x03\x04 cut short", "a.ckpt is damaged"),
        ("a.safetensors", b"no checkpoint", "a.safetensors is not a readable safetensors file"),
        ("model.safetensors.part", b"", "a.ckpt is neither a file nor a folder with model.safetensors or model.ckpt"),
    ],
)
def test_files_that_cannot_be_read_are_refused_with_a_remedy(name, content, reason, tmp_path):
    path = tmp_path / name
    path.write_bytes(content) if isinstance(content, bytes) else torch.save(content, path)
    wanted = path if path.suffix != ".part" else tmp_path / "a.ckpt"
    with pytest.raises(ValueError, match=reason):
        load_stable_audio_tools(wanted)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (None, "there is no .*model_config.json"),
        ("{", "model_config.json is not JSON"),
        ("[]", "model_config.json holds a list"),
    ],
)
def test_a_configuration_that_cannot_be_read_is_refused(text, reason, tmp_path):
    torch.save({"state_dict": Reference(config_of()).state_dict()}, tmp_path / "model.ckpt")
    if text is not None:
        (tmp_path / "model_config.json").write_text(text)
    with pytest.raises(ValueError, match=reason):
        load_stable_audio_tools(tmp_path)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"causal": True}, "`causal=True` cannot be written as a stable-audio-tools Oobleck"),
        ({"downsampling_ratios": (2, 5)}, r"odd strides \[5\] cannot be written as a stable-audio-tools Oobleck"),
    ],
)
def test_what_stable_audio_tools_cannot_express_is_refused_and_nothing_written(changes, reason, tmp_path):
    with pytest.raises(ValueError, match=reason):
        save_stable_audio_tools(model_of(**changes), tmp_path / "new")
    assert not (tmp_path / "new").exists()


def test_statistics_are_left_out_with_a_warning(caplog):
    to_stable_audio_tools(model_of())
    assert not caplog.records
    to_stable_audio_tools(model_of(latents_mean=(0.0,) * 3, latents_std=(2.0,) * 3))
    assert "`latents_mean` and `latents_std` are left out" in caplog.text


@pytest.mark.parametrize("existing", ["vae.ckpt", "model_config.json"])
def test_writing_overwrites_nothing(existing, tmp_path):
    (tmp_path / existing).write_text("mine")
    with pytest.raises(ValueError, match=f"{existing} would be overwritten"):
        save_stable_audio_tools(model_of(), tmp_path / "vae.ckpt")
    assert [path.name for path in tmp_path.iterdir()] == [existing]
