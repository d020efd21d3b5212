import pytest
import torch
from torch import Tensor

from hf_audio_vae import WaveformVAE
from hf_audio_vae.discriminators import (
    DiscriminatorEnsemble,
    DiscriminatorOutput,
    MultiPeriodDiscriminator,
    MultiResolutionDiscriminator,
    MultiScaleSTFTDiscriminator,
    load_discriminators,
)
from hf_audio_vae.discriminators.layers import spectrogram_planes

OPTIONS = {
    "multi_period": {"hidden_channels": 2, "periods": (2, 3, 5)},
    "multi_resolution": {"hidden_channels": 4, "window_lengths": (256, 128), "band_edges": (0.2, 0.6)},
    "multi_scale_stft": {"hidden_channels": 4, "window_lengths": (256, 64)},
}
STEREO = {
    "multi_period": MultiPeriodDiscriminator(2, **OPTIONS["multi_period"]),
    "multi_resolution": MultiResolutionDiscriminator(2, **OPTIONS["multi_resolution"]),
    "multi_scale_stft": MultiScaleSTFTDiscriminator(2, **OPTIONS["multi_scale_stft"]),
    "ensemble": DiscriminatorEnsemble(2, **OPTIONS),
}


def noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed)) * 2 - 1


def flat(output: DiscriminatorOutput) -> list[Tensor]:
    return [*output.logits, *(feature_map for maps in output.feature_maps for feature_map in maps)]


@pytest.mark.parametrize("name", STEREO)
class TestEveryDiscriminator:
    def test_gradients_reach_every_parameter_and_the_waveform(self, name):
        model, waveform = STEREO[name], noise(2, 2, 3000).requires_grad_()
        model.zero_grad()
        output = model(waveform)
        torch.stack([logits.square().mean() for logits in output.logits]).sum().backward()
        assert all(parameter.grad.any() for parameter in model.parameters())
        assert waveform.grad[0].any() and waveform.grad[1].any()

    def test_an_item_is_judged_by_itself(self, name):
        waveform = noise(3, 2, 3000)
        waveform[0] *= 100
        waveform[1] = 0
        for together, alone in zip(flat(STEREO[name](waveform)), flat(STEREO[name](waveform[2:])), strict=True):
            torch.testing.assert_close(together[2:], alone, rtol=1e-4, atol=1e-5)

    @pytest.mark.parametrize("time", [1, 2, 100, 3000])
    def test_silence_of_any_length_gives_finite_values_and_gradients(self, name, time):
        model, silence = STEREO[name], torch.zeros(1, 2, time, requires_grad=True)
        model.zero_grad()
        output = model(silence)
        torch.stack([value.sum() for value in flat(output)]).sum().backward()
        assert all(value.isfinite().all() for value in flat(output))
        assert silence.grad.isfinite().all()
        assert all(parameter.grad.isfinite().all() for parameter in model.parameters())

    def test_scores_and_features_come_in_pairs_of_one_item_each(self, name):
        output = STEREO[name](noise(3, 2, 3000))
        assert len(output.logits) == len(output.feature_maps) > 1
        assert all(logits.shape[:2] == (3, 1) for logits in output.logits)
        assert all(feature_map.shape[0] == 3 for feature_map in flat(output))

    def test_both_channels_count(self, name):
        waveform = noise(1, 2, 3000)
        for channel in (0, 1):
            other = waveform.clone()
            other[:, channel] *= 0.5
            assert not torch.equal(STEREO[name](other).logits[0], STEREO[name](waveform).logits[0])

    def test_scores_inside_bf16_autocast_are_close(self, name):
        waveform = noise(2, 2, 3000)
        expected = STEREO[name](waveform).logits
        with torch.autocast("cpu", dtype=torch.bfloat16):
            scores = STEREO[name](waveform).logits
        for inside, outside in zip(scores, expected, strict=True):
            # Six layers, each rounding to 8 bits: an error of about 6 * 2^-8 of the largest score.
            torch.testing.assert_close(inside.float(), outside, rtol=0, atol=6 * 2**-8 * outside.abs().max().item())

    @pytest.mark.parametrize("shape", [(2, 3000), (1, 1, 3000), (1, 3, 3000)])
    def test_other_shapes_are_refused(self, name, shape):
        with pytest.raises(ValueError, match=r"expects \(batch, 2, time\), got"):
            STEREO[name](noise(*shape))


@pytest.mark.parametrize("name", STEREO)
def test_a_saved_discriminator_gives_the_same_scores(name, tmp_path):
    STEREO[name].save_pretrained(tmp_path)
    loaded = type(STEREO[name]).from_pretrained(tmp_path)
    for ours, theirs in zip(flat(loaded(noise(1, 2, 3000))), flat(STEREO[name](noise(1, 2, 3000))), strict=True):
        assert torch.equal(ours, theirs)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_discriminators_beside_a_model_are_found_there(tmp_path, dtype):
    WaveformVAE(4, (2,), (1,), 4, 2, 1, 8000).save_pretrained(tmp_path)
    ensemble = DiscriminatorEnsemble(2, **OPTIONS).to(dtype)
    ensemble.save_pretrained(tmp_path / "discriminator", max_shard_size="4KB")
    loaded = load_discriminators(tmp_path).to(dtype)
    assert [type(member) for member in loaded.children()] == [type(STEREO[kind]) for kind in OPTIONS]
    waveform = noise(1, 2, 3000)
    for ours, theirs in zip(flat(loaded(waveform)), flat(ensemble(waveform)), strict=True):
        assert torch.equal(ours, theirs)


def test_a_folder_without_discriminators_is_refused(tmp_path):
    WaveformVAE(4, (2,), (1,), 4, 2, 1, 8000).save_pretrained(tmp_path)
    with pytest.raises(OSError, match="has no folder 'discriminator'"):
        load_discriminators(tmp_path)


def test_an_ensemble_is_what_its_members_are():
    ensemble = STEREO["ensemble"]
    waveform = noise(1, 2, 3000)
    apart = [logits for member in ensemble.children() for logits in member(waveform).logits]
    assert all(torch.equal(a, b) for a, b in zip(ensemble(waveform).logits, apart, strict=True))
    with pytest.raises(ValueError, match="needs a discriminator"):
        DiscriminatorEnsemble()


def test_a_period_lines_up_what_repeats_after_it():
    """A sound of period 5 looks constant to the fold of 5, and to no other."""
    sound = noise(1, 2, 5).repeat(1, 1, 240)
    output = STEREO["multi_period"](sound)
    for period, maps in zip((2, 3, 5), output.feature_maps, strict=True):
        inner = maps[0][:, :, 2:-2]  # (batch, channels, time / period / 3, period), without the padded ends
        changes = (inner - inner[:, :, :1]).abs().max()
        assert (changes < 1e-5) == (period == 5), changes


def test_a_band_sees_only_its_own_frequencies():
    model = MultiResolutionDiscriminator(1, 4, window_lengths=(256,), band_edges=(0.5,))
    time = torch.arange(4000.0)
    waveform = 0.1 * noise(1, 1, 4000)
    high = waveform + torch.sin(2 * torch.pi * 0.4 * time)  # 0.4 of the sampling rate, in the upper of two bands
    before, after = (model(x).feature_maps[0] for x in (waveform, high))
    inner = slice(3, -3)  # the ends of the sine are reflected to a click, which has every frequency
    low_changes = (before[0] - after[0])[:, :, inner].abs().max()
    high_changes = (before[5] - after[5])[:, :, inner].abs().max()
    assert low_changes < 1e-3 * high_changes


def test_bands_that_are_empty_are_refused():
    with pytest.raises(ValueError, match="leave a band empty at window length 16, which has 9 bins"):
        MultiResolutionDiscriminator(window_lengths=(16,), band_edges=(0.01, 0.5))


@pytest.mark.parametrize(
    ("kind", "sizes"),
    [
        (MultiPeriodDiscriminator, {"audio_channels": 0}),
        (MultiPeriodDiscriminator, {"periods": ()}),
        (MultiResolutionDiscriminator, {"hidden_channels": 0}),
        (MultiResolutionDiscriminator, {"window_lengths": ()}),
        (MultiScaleSTFTDiscriminator, {"window_lengths": (64, 0)}),
        (MultiScaleSTFTDiscriminator, {"window_lengths": ()}),
    ],
)
def test_sizes_have_to_be_positive(kind, sizes):
    with pytest.raises(ValueError, match=f"`{next(iter(sizes))}` is .*has to be 1 or more"):
        kind(**sizes)


@pytest.mark.parametrize(("time", "rows"), [(25, 9), (26, 9), (27, 9), (28, 10)])
def test_a_waveform_of_whole_periods_is_not_padded(time, rows):
    judge = MultiPeriodDiscriminator(1, hidden_channels=2, periods=(3,))
    first_map = judge(noise(1, 1, time)).feature_maps[0][0]
    assert first_map.shape[2:] == (-(-rows // 3), 3)  # the stride is 3


@pytest.mark.parametrize("window_length", [64, 256, 1024])
def test_white_noise_has_the_same_level_in_windows_of_any_length(window_length):
    planes = spectrogram_planes(noise(1, 1, 40_000), window_length)[:, :, 2:-2, 1:-1]  # no edges, no real bins
    assert planes.square().mean().item() == pytest.approx(1 / 3 / 2, rel=0.05)  # half of the variance in each plane
