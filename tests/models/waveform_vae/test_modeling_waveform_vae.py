import pytest
import torch
from diffusers import AutoencoderOobleck
from torch import Tensor, nn

from hf_audio_vae import WaveformVAE
from tests.dependence import clipped, inputs_read
from tests.models.contract import AutoencoderContract, Decode, assert_equal_within_rounding, seeded

OOBLECKS = [
    {"encoder_hidden_size": 8, "downsampling_ratios": [2, 4], "channel_multiples": [1, 2], "audio_channels": 1},
    {"encoder_hidden_size": 8, "downsampling_ratios": [4, 2], "channel_multiples": [1, 2], "audio_channels": 2},
    {"encoder_hidden_size": 6, "downsampling_ratios": [2, 2, 8], "channel_multiples": [2, 1, 3], "audio_channels": 4},
    {"encoder_hidden_size": 4, "downsampling_ratios": [6], "channel_multiples": [5], "audio_channels": 2},
]
STABLE_AUDIO_OPEN = {
    "encoder_hidden_size": 128,
    "downsampling_ratios": [2, 4, 4, 8, 8],
    "channel_multiples": [1, 2, 4, 8, 16],
    "decoder_channels": 128,
    "decoder_input_channels": 64,
    "audio_channels": 2,
    "sampling_rate": 44100,
}


def noise(*shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
    return 0.3 * torch.randn(shape, generator=seeded(), dtype=dtype)


def with_random_parameters(model: nn.Module) -> nn.Module:
    generator = seeded()
    for parameter in model.parameters():
        parameter.data.add_(0.05 * torch.randn(parameter.shape, generator=generator))
    return model.eval()


class TestWaveformVAE(AutoencoderContract):
    model_class = WaveformVAE
    config = {
        "encoder_hidden_size": 6,
        "downsampling_ratios": (2, 3),
        "channel_multiples": (1, 2),
        "decoder_channels": 4,
        "decoder_input_channels": 3,
        "audio_channels": 2,
        "sampling_rate": 8000,
        "causal": False,
        "latents_mean": (0.5, -1.0, 0.0),
        "latents_std": (2.0, 0.5, 1.0),
    }
    other_values = {
        "encoder_hidden_size": 5,
        "downsampling_ratios": (3, 2),
        "channel_multiples": (2, 2),
        "decoder_channels": 5,
        "decoder_input_channels": 4,
        "audio_channels": 1,
        "sampling_rate": 16000,
        "causal": True,
        "latents_mean": (0.0, 0.0, 0.25),
        "latents_std": (2.0, 0.25, 1.0),
    }
    changes_with = {"decoder_input_channels": {"latents_mean": None, "latents_std": None}}


class TestCausalWaveformVAE(AutoencoderContract):
    model_class = WaveformVAE
    config = {
        **TestWaveformVAE.config,
        "downsampling_ratios": (5, 1),
        "channel_multiples": (2, 1),
        "audio_channels": 1,
        "causal": True,
    }
    other_values = {
        **TestWaveformVAE.other_values,
        "downsampling_ratios": (1, 5),
        "channel_multiples": (1, 1),
        "audio_channels": 3,
        "causal": False,
    }
    changes_with = TestWaveformVAE.changes_with


@pytest.fixture(autouse=True)
def seeded_weights():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        yield


@pytest.fixture(params=OOBLECKS, ids=lambda config: f"{config['audio_channels']}-channels")
def oobleck(request) -> AutoencoderOobleck:
    width = request.param["encoder_hidden_size"]
    model = AutoencoderOobleck(
        **request.param, decoder_channels=5, decoder_input_channels=width // 2, sampling_rate=16000
    )
    return with_random_parameters(model)


def waveform_vae(oobleck: AutoencoderOobleck) -> WaveformVAE:
    """Load the weights strictly into the class configured with the same keys."""
    config = {key: value for key, value in oobleck.config.items() if not key.startswith("_")}
    model = WaveformVAE(**config).eval()
    model.load_state_dict(oobleck.state_dict())
    return model


def assert_equal_models(model: WaveformVAE, oobleck: AutoencoderOobleck, x: Tensor) -> None:
    def close(actual: Tensor, expected: Tensor) -> None:
        torch.testing.assert_close(actual, expected, rtol=0, atol=1e-5 * float(expected.abs().max()))

    ours, theirs = model.encode(x).latent_dist, oobleck.encode(x).latent_dist
    close(ours.mean, theirs.mean)
    close(ours.std, theirs.std)
    z = theirs.sample(seeded(1))
    close(ours.sample(seeded(1)), z)
    close(model.decode(z).sample, oobleck.decode(z).sample)
    close(model(x).sample, oobleck(x).sample)
    drawn = model(x, sample_posterior=True, generator=seeded(2)).sample
    close(drawn, oobleck(x, sample_posterior=True, generator=seeded(2)).sample)


@torch.no_grad()
def test_equals_oobleck(oobleck):
    x = noise(2, oobleck.config.audio_channels, 12 * oobleck.hop_length)
    assert_equal_models(waveform_vae(oobleck), oobleck, x)


@torch.no_grad()
def test_loads_the_folder_that_oobleck_saved(oobleck, tmp_path):
    oobleck.save_pretrained(tmp_path)
    model = WaveformVAE.from_pretrained(tmp_path)
    assert not model.config.causal
    assert_equal_models(model, oobleck, noise(1, oobleck.config.audio_channels, 9 * oobleck.hop_length))


def test_has_the_defaults_of_oobleck():
    with torch.device("meta"):
        model, oobleck = WaveformVAE(), AutoencoderOobleck()
    for key in TestWaveformVAE.config.keys() & oobleck.config.keys():
        default = model.config[key]
        assert (list(default) if isinstance(default, tuple) else default) == oobleck.config[key]
    assert not model.config.causal


@pytest.mark.slow
@torch.no_grad()
def test_equals_oobleck_at_the_size_of_stable_audio_open():
    oobleck = AutoencoderOobleck(**STABLE_AUDIO_OPEN).eval()
    with torch.device("meta"):
        model = WaveformVAE(**STABLE_AUDIO_OPEN).eval()
    model.load_state_dict(oobleck.state_dict(), assign=True)  # strict, and the weights are there once
    assert 156_000_000 < sum(parameter.numel() for parameter in model.parameters()) < 157_000_000
    assert model.hop_length == 2048
    assert_equal_models(model, oobleck, noise(1, 2, 2 * model.hop_length))


@torch.no_grad()
@pytest.mark.parametrize("strides", [(3,), (2, 5), (7, 3), (1, 3)])
def test_odd_strides_lose_no_samples(strides):
    model = WaveformVAE(4, strides, (1,) * len(strides), 4, decoder_input_channels=2, audio_channels=1).eval()
    x = noise(1, 1, 4 * model.hop_length, dtype=torch.float64)
    model.double()
    assert model.decode(model.encode(x).latent_dist.mode()).sample.shape == x.shape
    # The first and the last sample are heard in the latents, the first and the last latent in the sound.
    for function, y, frames in ((model.encoder, x, 4), (model.decoder, noise(1, 2, 4).double(), x.shape[-1])):
        assert inputs_read(function, y, 0, frames) == (0, y.shape[-1])
        assert inputs_read(function, y, 0, 1)[0] == 0
        assert inputs_read(function, y, frames - 1, frames)[1] == y.shape[-1]


@torch.no_grad()
@pytest.mark.parametrize(("hidden", "latent"), [(8, 3), (8, 4), (4, 6)])
def test_latent_width_is_free_of_the_encoder_width(hidden, latent):
    model = WaveformVAE(hidden, (2,), (1,), 4, decoder_input_channels=latent, audio_channels=1).eval()
    x = noise(1, 1, 10)
    assert model.encode(x).latent_dist.mode().shape == (1, latent, 5)
    assert model(x).sample.shape == x.shape


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("strides", [(2, 4), (3, 5), (5, 2, 1)])
def test_input_spans_of_encoder_and_decoder_are_exact(strides, causal):
    model = WaveformVAE(2, strides, (1,) * len(strides), 2, 2, audio_channels=1, causal=causal).double().eval()
    hop = model.hop_length
    first, last = model.encoder.input_span(0, 1)
    frames = 2 * (last - first) // hop + 20
    x, z = noise(1, 1, frames * hop, dtype=torch.float64), noise(1, 2, frames, dtype=torch.float64)
    middle = frames // 2
    for start, stop in [(middle, middle + 1), (middle, middle + 4), (0, frames)]:
        assert inputs_read(model.encoder, x, start, stop) == clipped(
            model.encoder.input_span(start, stop), frames * hop
        )
    samples = [(middle * hop + shift, middle * hop + shift + 1) for shift in range(hop)]
    for start, stop in [*samples, (middle * hop, middle * hop + 3 * hop), (0, frames * hop)]:
        span = model.decoder.input_span(start, stop)
        assert inputs_read(model.decoder, z, start, stop) == clipped(span, frames)


def causal_model(strides: tuple[int, ...] = (2, 5)) -> WaveformVAE:
    model = WaveformVAE(4, strides, (1, 2), 4, decoder_input_channels=3, audio_channels=1, causal=True)
    return with_random_parameters(model).double()


@torch.no_grad()
@pytest.mark.parametrize("strides", [(2, 4), (2, 5), (3, 3)])
def test_causal_latents_do_not_depend_on_later_samples(strides):
    model = causal_model(strides)
    x = noise(1, 1, 20 * model.hop_length, dtype=torch.float64)
    later = x.clone()
    later[..., 8 * model.hop_length :] += 1
    before, after = model.encode(x).latent_dist, model.encode(later).latent_dist
    for a, b in ((before.mean, after.mean), (before.std, after.std)):
        assert (a - b).abs().amax(dim=(0, 1)).nonzero()[0] == 8


@torch.no_grad()
@pytest.mark.parametrize("strides", [(2, 4), (2, 5), (3, 3)])
def test_causal_samples_do_not_depend_on_later_frames(strides):
    model = causal_model(strides)
    z = noise(1, 3, 20, dtype=torch.float64)
    later = z.clone()
    later[..., 8:] += 1
    moved = (model.decode(z).sample - model.decode(later).sample).abs().amax(dim=(0, 1))
    assert moved.nonzero()[0] == 8 * model.hop_length


@torch.no_grad()
def test_causal_item_padded_in_a_batch_has_the_frames_it_has_alone():
    model = causal_model()
    valid = 7 * model.hop_length
    x = noise(2, 1, 20 * model.hop_length, dtype=torch.float64)
    x[0, :, valid:] = 0
    batch, alone = model.encode(x).latent_dist, model.encode(x[:1, :, :valid]).latent_dist
    assert_equal_within_rounding(batch.mean[:1, :, :7], alone.mean)
    assert_equal_within_rounding(batch.std[:1, :, :7], alone.std)
    assert_equal_within_rounding(model.decode(batch.mean).sample[:1, :, :valid], model.decode(alone.mean).sample)


@pytest.mark.slow
@torch.no_grad()
def test_inductor_changes_nothing_but_rounding():
    model = WaveformVAE(4, (2,), (1,), 4, decoder_input_channels=2, audio_channels=1).eval()
    z = noise(1, 2, 20)
    assert_equal_within_rounding(torch.compile(Decode(model), fullgraph=True)(z), Decode(model)(z))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"audio_channels": 0}, "`audio_channels` is 0; .* 1 or more"),
        ({"downsampling_ratios": (2, 0)}, r"\(2, 0\); .* 1 or more"),
        ({"channel_multiples": (1, -1)}, r"\(1, -1\); .* 1 or more"),
        ({"downsampling_ratios": (2,)}, r"\(2,\).*one multiple per stride"),
        ({"downsampling_ratios": (), "channel_multiples": ()}, "at least 1 and at most"),
    ],
)
def test_a_wrong_configuration_is_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        WaveformVAE(**{**TestWaveformVAE.config, **changes})
