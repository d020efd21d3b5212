from collections.abc import Callable

import pytest
import torch
from diffusers import MMAudioVocoder
from transformers import SpeechT5HifiGan, SpeechT5HifiGanConfig, UnivNetConfig, UnivNetModel

from hf_audio_vae.models.spectrogram_vae.neural_vocoders import (
    NeuralVocoder,
    hifi_gan_vocoder,
    mmaudio_vocoder,
    univnet_vocoder,
)
from tests.models.probes import assert_equal_within_rounding, seeded
from tests.models.spectrogram_vae.test_spectrograms import model_of

RATE, BINS, HOP = 8000, 12, 16
UPSAMPLING = {"upsample_initial_channel": 8, "upsample_rates": [4, 4], "upsample_kernel_sizes": [8, 8]}
BLOCKS = {"resblock_kernel_sizes": [3], "resblock_dilation_sizes": [[1, 3]]}


def hifi_gan() -> NeuralVocoder:
    config = SpeechT5HifiGanConfig(model_in_dim=BINS, sampling_rate=RATE, **UPSAMPLING, **BLOCKS)
    return hifi_gan_vocoder(SpeechT5HifiGan(config))


def univnet() -> NeuralVocoder:
    sizes = {"model_in_channels": 4, "model_hidden_channels": 4, "kernel_predictor_hidden_channels": 4}
    sizes |= {"resblock_kernel_sizes": [3], "resblock_dilation_sizes": [[1, 3]], "resblock_stride_sizes": [16]}
    return univnet_vocoder(UnivNetModel(UnivNetConfig(num_mel_bins=BINS, **sizes)), RATE)


def mmaudio() -> NeuralVocoder:
    return mmaudio_vocoder(MMAudioVocoder(BINS, **UPSAMPLING, **BLOCKS), RATE)


every_vocoder = pytest.mark.parametrize("new", [hifi_gan, univnet, mmaudio])


@pytest.fixture(autouse=True)
def random_weights() -> None:
    torch.manual_seed(0)


@every_vocoder
@torch.no_grad()
def test_it_makes_the_waveform_of_each_channel_by_itself(new: Callable[[], NeuralVocoder]) -> None:
    vocoder = new()
    vocoder.module.eval()
    mel = torch.randn(2, 3, 10, BINS, generator=seeded())
    waveform = vocoder(mel)
    assert waveform.shape == (2, 3, 10 * HOP)
    assert waveform.std() > 0
    assert_equal_within_rounding(vocoder(mel[1:, 2:]), waveform[1:, 2:], operations=1000)
    assert vocoder(mel.half()).dtype == torch.float16


@every_vocoder
@torch.no_grad()
def test_a_model_decodes_with_it(new: Callable[[], NeuralVocoder]) -> None:
    vocoder, model = new(), model_of("mel")
    vocoder.module.eval()
    model.set_vocoder(vocoder)
    z = torch.randn(1, model.latent_channels, 5, generator=seeded())
    decoded = model.decode(z.unflatten(1, (1, -1)).transpose(2, 3)).sample
    assert torch.equal(model.decode(z).sample, vocoder(decoded))
    assert not any("vocoder" in name for name in model.state_dict())
    with pytest.raises(ValueError, match="`mel_bins` 12.*`mel_bins` 8"):
        model_of("mel", mel_bins=8).set_vocoder(vocoder)


@torch.no_grad()
def test_the_waveform_is_that_of_the_module() -> None:
    vocoder = hifi_gan()
    mel = torch.randn(1, 1, 10, BINS, generator=seeded())
    assert torch.equal(vocoder(mel)[0], vocoder.module(mel[0]))
