"""Against Jukebox's formula written out: its layers, its names, its distance."""

import pytest
import torch
from torch import Tensor

from hf_audio_vae.models.hierarchical_vqvae.convert_jukebox import (
    from_jukebox,
    load_jukebox,
    save_jukebox,
    to_jukebox,
)
from hf_audio_vae.models.hierarchical_vqvae.modeling_hierarchical_vqvae import (
    HierarchicalVQVAE,
    HierarchicalVQVAEConfig,
)
from tests.models.hierarchical_vqvae.jukebox import PUBLISHED, Hyperparams, Reference

NARROW = {**PUBLISHED, "emb_width": 6, "l_bins": 50, "width": 4}
SMALL = {
    **NARROW,
    "levels": 2,
    "downs_t": (2, 1),
    "strides_t": (2, 4),
    "hvqvae_multipliers": None,
    "depth": 3,
    "m_conv": 0.5,
    "dilation_growth_rate": 2,
    "dilation_cycle": 2,
    "vqvae_reverse_decoder_dilation": False,
    "sr": 22050,
}


def noise(*shape: int) -> Tensor:
    return 0.3 * torch.randn(shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def assert_near(actual: Tensor, expected: Tensor, tolerance: float) -> None:
    torch.testing.assert_close(actual, expected, rtol=0, atol=tolerance * float(expected.abs().max()))


def small_model(**changes: object) -> HierarchicalVQVAE:
    sizes = {"width": 4, "depth": 1, "hidden_size": 4, "codebook_size": 8}
    return HierarchicalVQVAE(HierarchicalVQVAEConfig(**{**sizes, **changes}))


@pytest.mark.parametrize("hps", [NARROW, SMALL], ids=["published-but-narrow", "small"])
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.float64, 1e-12)])
@torch.no_grad()
def test_a_converted_model_gives_the_codes_and_the_sound_of_every_level(hps, dtype, tolerance):
    reference = Reference(hps)
    model = from_jukebox(reference.state_dict(), hps).to(dtype)
    reference.to(dtype)
    x = noise(2, 1, 12 * model.hop_length).to(dtype)
    codes, expected = model.encode(x).audio_codes, reference.encode(x)
    for level, (ours, theirs) in enumerate(zip(codes, expected, strict=True)):
        assert torch.equal(ours[:, 0], theirs)
        assert len(theirs.unique()) > 5
        sound = reference.decode(theirs, level)
        assert_near(model.decode(ours, level=level).audio_values, sound, tolerance)
        assert_near(model.decode(codes, level=level).audio_values, sound, tolerance)
        assert_near(model(x).level_values[level], sound, tolerance)
    assert torch.equal(model.decode(codes).audio_values, model.decode(codes, level=0).audio_values)
    assert model.sampling_rate == hps["sr"]
    assert not model.training


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.float64, 1e-12)])
@torch.no_grad()
def test_joint_decoding_runs_the_coarsest_decoder_through_all_levels(dtype, tolerance):
    reference = Reference(NARROW)
    weights = from_jukebox(reference.state_dict(), NARROW)
    config = HierarchicalVQVAEConfig.from_dict({**weights.config.to_dict(), "joint_decoding": True})
    model = HierarchicalVQVAE(config).to(dtype).eval()
    model.load_state_dict(weights.state_dict())
    reference.to(dtype)
    x = noise(2, 1, 12 * model.hop_length).to(dtype)
    codes = model.encode(x).audio_codes
    expected = reference.decode_jointly([level[:, 0] for level in codes])
    assert_near(model.decode(codes).audio_values, expected, tolerance)
    assert_near(model(x).audio_values, expected, tolerance)
    assert_near(model(x).level_values[0], reference.decode(codes[0][:, 0], 0), tolerance)


@torch.no_grad()
def test_several_channels_are_read_from_the_weights():
    reference = Reference(SMALL, channels=2)
    model = from_jukebox(reference.state_dict(), SMALL)
    x = noise(1, 2, 8 * model.hop_length).float()
    assert torch.equal(model.encode(x).audio_codes[1][:, 0], reference.encode(x)[1])


def test_the_published_numbers_are_the_defaults():
    weights = Reference(PUBLISHED).state_dict()
    model = from_jukebox(weights)
    defaults = HierarchicalVQVAEConfig()
    assert all(getattr(model.config, key) == getattr(defaults, key) for key in HierarchicalVQVAEConfig.__annotations__)
    assert model.hop_lengths == (8, 32, 128)
    back, hps = to_jukebox(model)
    assert hps == {**PUBLISHED, "use_bottleneck": True}
    assert back.keys() == weights.keys()
    assert all(torch.equal(back[name], weights[name]) for name in weights)


def test_the_averages_of_a_codebook_begin_at_its_vectors():
    model = from_jukebox(Reference(NARROW).state_dict(), NARROW)
    for quantizer in model.quantizers:
        codebook = quantizer.codebook
        assert torch.equal(codebook.sums / codebook.counts[:, None], codebook.vectors)
        assert codebook.updates > 0
    before = [quantizer.codebook.vectors.clone() for quantizer in model.quantizers]
    model.train()(noise(1, 1, 256).float())
    for vectors, quantizer in zip(before, model.quantizers, strict=True):  # no start anew from the first batch
        assert (quantizer.codebook.vectors - vectors).abs().amax(dim=1).median() < 0.2 * vectors.abs().max()


@pytest.mark.parametrize("prefix", ["", "module."])
@pytest.mark.parametrize("whole", [True, False])
def test_a_checkpoint_is_read_with_or_without_what_is_around_its_weights(prefix, whole, tmp_path):
    reference = Reference(PUBLISHED if not whole else NARROW)
    weights = {prefix + name: value for name, value in reference.state_dict().items()}
    content = {"hps": {**NARROW, "commit": 0.02}, "model": weights, "opt": None, "step": 7} if whole else weights
    torch.save(content, tmp_path / "vqvae.pth.tar")
    state = to_jukebox(load_jukebox(tmp_path / "vqvae.pth.tar"))[0]
    assert all(torch.equal(state[name], value) for name, value in reference.state_dict().items())


@pytest.mark.slow
@torch.no_grad()
def test_a_written_model_comes_back_and_is_jukebox_s(tmp_path):
    model = from_jukebox(Reference(NARROW).state_dict(), NARROW)
    save_jukebox(model, tmp_path / "new" / "vqvae.pth.tar")
    content = torch.load(tmp_path / "new" / "vqvae.pth.tar", weights_only=True)
    built = Reference(content["hps"])
    built.load_state_dict(content["model"])
    x = noise(1, 1, 512).float()
    assert torch.equal(built.encode(x)[2], model.encode(x).audio_codes[2][:, 0])
    back = load_jukebox(tmp_path / "new" / "vqvae.pth.tar")
    assert all(torch.equal(value, model.state_dict()[name]) for name, value in back.state_dict().items())
    with pytest.raises(ValueError, match="would be overwritten"):
        save_jukebox(model, tmp_path / "new" / "vqvae.pth.tar")


def test_a_checkpoint_that_is_none_is_refused(tmp_path):
    weights = Reference(SMALL).state_dict()
    with pytest.raises(ValueError, match="there is no file"):
        load_jukebox(tmp_path / "none")
    for content, message in (
        ({"model": weights, "hps": Hyperparams(SMALL)}, r"pickled objects.*dict\(its hps\)"),
        ([1], "holds a list"),
        ({"a": torch.zeros(1)}, r"no Jukebox autoencoder.*\['a'\]"),
    ):
        torch.save(content, tmp_path / "file")
        with pytest.raises(ValueError, match=message):
            load_jukebox(tmp_path / "file")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"depth": 2}, "unknown to its hyperparameters, one of 40 names"),
        ({"downs_t": (2, 2)}, "missing from the checkpoint"),
        ({"l_bins": 49}, r"bottleneck.level_blocks.0.k has the shape \(50, 6\), its hyperparameters need \(49, 6\)"),
        ({"levels": 3}, r"`levels` is 3, but `strides_t` \(2, 4\) has 2 numbers"),
        ({"use_bottleneck": False}, "no codes"),
    ],
)
def test_numbers_that_do_not_fit_the_weights_are_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        from_jukebox(Reference(SMALL).state_dict(), {**SMALL, **changes})


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"audio_channels": 2}, "`audio_channels=2` cannot be written.*has 1"),
        ({"shared_encoder": True}, "`shared_encoder=True` cannot be written"),
        ({"joint_decoding": True}, "`joint_decoding=True` cannot be written"),
        ({"cosine": True}, "`cosine=True` cannot be written"),
        ({"strides": (2, 3, 2)}, r"odd strides \[3\] cannot be written"),
    ],
)
def test_what_jukebox_cannot_express_is_refused_and_nothing_written(changes, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        save_jukebox(small_model(**changes), tmp_path / "file")
    assert not (tmp_path / "file").exists()
