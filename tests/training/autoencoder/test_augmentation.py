"""Random transformations of latents and targets in training."""

import pytest
import torch
from pydantic import ValidationError

from hf_audio_vae import WaveformVAE
from hf_audio_vae.data.crops import CropBatch
from hf_audio_vae.data.streaming import Origin, Position
from hf_audio_vae.losses import WaveformL1Loss
from hf_audio_vae.training.autoencoder.augmentation import LatentAugmentation, RandomGain, RandomMix, RandomPolarity
from hf_audio_vae.training.autoencoder.config import AutoencoderTrainingConfig
from hf_audio_vae.training.autoencoder.options import LatentAugmentationOptions
from hf_audio_vae.training.autoencoder.steps import reconstruction_step

HOP = 10
SEEDS = list(range(400))


def batch_of(waveform: torch.Tensor) -> CropBatch:
    names = [str(index) for index in range(len(waveform))]
    return CropBatch(Origin(names, list(range(len(waveform))), 0, Position()), waveform, 4000)


def test_gains_are_uniform_in_decibels_for_a_share_of_the_items() -> None:
    one = torch.ones(len(SEEDS), 1, 1)
    gains = 20 * LatentAugmentation([RandomGain(decibels=6, probability=0.75)])(SEEDS).latents(one)[:, 0, 0].log10()
    changed = gains[gains != 0]
    assert len(changed) / len(SEEDS) == pytest.approx(0.75, abs=0.07)
    assert changed.abs().max() <= 6 and changed.abs().mean() == pytest.approx(3, abs=0.4)


def test_polarities_and_partners_are_drawn_for_each_item() -> None:
    positions = torch.arange(1.0, len(SEEDS) + 1)[:, None, None]
    flipped = LatentAugmentation([RandomPolarity(0.3)])(SEEDS).waveform(positions) < 0
    assert flipped.float().mean() == pytest.approx(0.3, abs=0.07)
    added = LatentAugmentation([RandomMix(0.5)])(SEEDS).waveform(positions)[:, 0, 0] - positions[:, 0, 0]
    partners = positions[:, 0, 0].roll(-1)
    assert bool(((added == 0) | (added == partners)).all())
    assert (added > 0).float().mean() == pytest.approx(0.5, abs=0.07)


def test_an_item_is_changed_alike_in_every_batch() -> None:
    options = LatentAugmentationOptions.model_validate({"gain": {}, "polarity": {}, "shift": {}})
    augmentation = options.build(HOP)
    waveform = torch.randn(6, 1, 8 * HOP, generator=torch.Generator().manual_seed(0))
    whole = augmentation(SEEDS[:6]).waveform(waveform)
    halves = [augmentation(SEEDS[part]).waveform(waveform[part]) for part in (slice(0, 3), slice(3, 6))]
    assert torch.equal(whole, torch.cat(halves))
    assert not torch.equal(whole[:, :, 0], waveform[:, :, HOP])


@pytest.mark.parametrize("name", ["gain", "polarity", "mix", "shift"])
def test_the_target_is_the_transformed_sound_and_the_encoder_reads_the_sound_itself(name: str) -> None:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = WaveformVAE(4, (2, 5), (1, 2), 4, 4, audio_channels=1, sampling_rate=4000)
    waveform = 0.1 * torch.randn(8, 1, 12 * HOP + 3, generator=torch.Generator().manual_seed(1))
    augmentation = LatentAugmentationOptions.model_validate({name: {}}).build(HOP)
    batch = batch_of(waveform)
    made = reconstruction_step(model, batch, {"waveform_l1": WaveformL1Loss()}, augmentation)
    plain = reconstruction_step(model, batch, {"waveform_l1": WaveformL1Loss()})
    transformation = augmentation(batch.seeds)
    assert torch.equal(made.target, transformation.waveform(waveform))
    generators = [torch.Generator().manual_seed(seed) for seed in batch.seeds]
    latents = transformation.latents(model.encode(waveform).latent_dist.sample(generators))
    decoded = model.decode(latents).sample[..., : made.target.shape[-1]]
    torch.testing.assert_close(made.waveform, decoded)
    assert torch.equal(made.regularisers["kl"], plain.regularisers["kl"])
    assert not torch.equal(made.target, plain.target[..., : made.target.shape[-1]])


def test_options_without_effect_are_refused() -> None:
    for wrong in ({}, {"gain": {"probability": 2}}, {"echo": {}}):
        with pytest.raises(ValidationError):
            LatentAugmentationOptions.model_validate(wrong)


def test_a_codec_is_refused() -> None:
    recipe = {"dataset_name": "a", "validation_dataset_name": "b", "output_dir": "c", "segment_seconds": 1.0}
    recipe |= {"losses": {"waveform_l1": {}}, "weights": {"waveform_l1": 1.0}, "latent_augmentation": {"gain": {}}}
    config = AutoencoderTrainingConfig.model_validate(recipe | {"max_train_steps": 1})
    assert config.build_augmentation(HOP, has_codes=False) is not None
    with pytest.raises(ValueError, match="`latent_augmentation` transforms latents, and the model has codes"):
        config.build_augmentation(HOP, has_codes=True)
