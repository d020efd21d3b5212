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
)

STEREO = {
    "multi_period": MultiPeriodDiscriminator(2, 2, periods=(2, 3, 5)),
    "multi_resolution": MultiResolutionDiscriminator(2, 4, window_lengths=(256, 128), band_edges=(0.2, 0.6)),
    "multi_scale_stft": MultiScaleSTFTDiscriminator(2, 4, window_lengths=(256, 64)),
}
MODELS = STEREO | {"ensemble": DiscriminatorEnsemble(STEREO)}


def noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed)) * 2 - 1


def flat(output: DiscriminatorOutput) -> list[Tensor]:
    return [*output.logits, *(feature_map for maps in output.feature_maps for feature_map in maps)]


@pytest.mark.parametrize("name", MODELS)
class TestEveryDiscriminator:
    def test_gradients_reach_every_parameter_and_the_waveform(self, name):
        model, waveform = MODELS[name], noise(2, 2, 3000).requires_grad_()
        model.zero_grad()
        output = model(waveform)
        torch.stack([logits.square().mean() for logits in output.logits]).sum().backward()
        assert all(parameter.grad.any() for parameter in model.parameters())
        assert waveform.grad[0].any() and waveform.grad[1].any()

    def test_an_item_is_judged_by_itself(self, name):
        waveform = noise(3, 2, 3000)
        waveform[0] *= 100
        waveform[1] = 0
        for together, alone in zip(flat(MODELS[name](waveform)), flat(MODELS[name](waveform[2:])), strict=True):
            torch.testing.assert_close(together[2:], alone, rtol=1e-4, atol=1e-5)

    @pytest.mark.parametrize("time", [1, 2, 100, 3000])
    def test_silence_of_any_length_gives_finite_values_and_gradients(self, name, time):
        model, silence = MODELS[name], torch.zeros(1, 2, time, requires_grad=True)
        model.zero_grad()
        output = model(silence)
        torch.stack([value.sum() for value in flat(output)]).sum().backward()
        assert all(value.isfinite().all() for value in flat(output))
        assert silence.grad.isfinite().all()
        assert all(parameter.grad.isfinite().all() for parameter in model.parameters())

    def test_scores_and_features_come_in_pairs_of_one_item_each(self, name):
        output = MODELS[name](noise(3, 2, 3000))
        assert len(output.logits) == len(output.feature_maps) > 1
        assert all(logits.shape[:2] == (3, 1) for logits in output.logits)
        assert all(feature_map.shape[0] == 3 for feature_map in flat(output))

    def test_both_channels_count(self, name):
        waveform = noise(1, 2, 3000)
        for channel in (0, 1):
            other = waveform.clone()
            other[:, channel] *= 0.5
            assert not torch.equal(MODELS[name](other).logits[0], MODELS[name](waveform).logits[0])

    def test_scores_inside_bf16_autocast_are_close(self, name):
        waveform = noise(2, 2, 3000)
        expected = MODELS[name](waveform).logits
        with torch.autocast("cpu", dtype=torch.bfloat16):
            scores = MODELS[name](waveform).logits
        for inside, outside in zip(scores, expected, strict=True):
            # Six layers, each rounding to 8 bits: an error of about 6 * 2^-8 of the largest score.
            torch.testing.assert_close(inside.float(), outside, rtol=0, atol=6 * 2**-8 * outside.abs().max().item())

    @pytest.mark.parametrize("shape", [(2, 3000), (1, 1, 3000), (1, 3, 3000)])
    def test_other_shapes_are_refused(self, name, shape):
        with pytest.raises(ValueError, match=r"judges \(batch, 2, time\), got"):
            MODELS[name](noise(*shape))


@pytest.mark.parametrize("name", STEREO)
def test_a_saved_discriminator_gives_the_same_scores(name, tmp_path):
    STEREO[name].save_pretrained(tmp_path)
    loaded = type(STEREO[name]).from_pretrained(tmp_path)
    for ours, theirs in zip(flat(loaded(noise(1, 2, 3000))), flat(STEREO[name](noise(1, 2, 3000))), strict=True):
        assert torch.equal(ours, theirs)


def test_a_saved_ensemble_comes_back_whole_and_in_order(tmp_path):
    MODELS["ensemble"].save_pretrained(tmp_path / "discriminator")
    loaded = DiscriminatorEnsemble.from_pretrained(tmp_path)
    assert list(loaded.kinds) == list(STEREO)
    waveform = noise(1, 2, 3000)
    for ours, theirs in zip(flat(loaded(waveform)), flat(MODELS["ensemble"](waveform)), strict=True):
        assert torch.equal(ours, theirs)


def test_only_what_lies_beside_a_model_is_loaded(tmp_path):
    WaveformVAE(4, (2,), (1,), 4, 2, 1, 8000).save_pretrained(tmp_path)
    with pytest.raises(ValueError, match="has no"):
        DiscriminatorEnsemble.from_pretrained(tmp_path)
    alone = DiscriminatorEnsemble({"multi_scale_stft": STEREO["multi_scale_stft"]})
    alone.save_pretrained(tmp_path / "discriminator")
    assert list(DiscriminatorEnsemble.from_pretrained(tmp_path).kinds) == ["multi_scale_stft"]


def test_a_folder_without_discriminators_is_refused(tmp_path):
    with pytest.raises(ValueError, match="has no .*multi_period.* in its folder 'discriminator'"):
        DiscriminatorEnsemble.from_pretrained(tmp_path)


def test_a_discriminator_under_another_name_is_refused():
    with pytest.raises(ValueError, match="'multi_scale_stft'. cannot be joined"):
        DiscriminatorEnsemble({"multi_scale_stft": STEREO["multi_period"]})
    with pytest.raises(ValueError, match="nothing cannot be joined"):
        DiscriminatorEnsemble({})


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
    with pytest.raises(ValueError, match="leave a band of 9 bins empty"):
        MultiResolutionDiscriminator(window_lengths=(16,), band_edges=(0.01, 0.5))


@pytest.mark.parametrize("kind", [MultiPeriodDiscriminator, MultiResolutionDiscriminator, MultiScaleSTFTDiscriminator])
def test_sizes_have_to_be_positive(kind):
    with pytest.raises(ValueError, match="has to be 1 or more"):
        kind(audio_channels=0)
