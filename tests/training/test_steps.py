from itertools import islice
from pathlib import Path

import pytest
import torch
from accelerate import Accelerator

from hf_audio_vae import WaveformVAE
from hf_audio_vae.data import CropBatch, CropLoader, CropStream, load_audio_stream
from hf_audio_vae.losses import MultiResolutionSTFTLoss, WaveformL1Loss, weighted_sum
from hf_audio_vae.training.steps import reconstruction_step

DATA = Path(__file__).parents[2] / "data/train"
RATE = 8000
LOSSES = {
    "waveform_l1": WaveformL1Loss(),
    "multi_resolution_stft": MultiResolutionSTFTLoss(sampling_rate=RATE, window_lengths=(128, 32)),
}
WEIGHTS = {"waveform_l1": 1.0, "multi_resolution_stft": 1.0, "kl": 1e-3}


@pytest.fixture
def batch() -> CropBatch:
    stream = CropStream(
        load_audio_stream(str(DATA)), sampling_rate=RATE, audio_channels=1, crop_length=900, batch_size=4, seed=0
    )
    return next(iter(islice(CropLoader(stream), 1)))


@pytest.fixture
def model() -> WaveformVAE:
    torch.manual_seed(0)
    return WaveformVAE(4, (2, 3), (1, 2), 4, 2, 1, RATE)


def test_terms_are_the_losses_and_the_regularisers(model: WaveformVAE, batch: CropBatch) -> None:
    terms = reconstruction_step(model, batch, LOSSES)
    assert terms.keys() == WEIGHTS.keys()
    posterior = model.encode(batch.waveform).latent_dist
    torch.testing.assert_close(terms["kl"], posterior.kl().sum(dim=1).mean())


def test_the_noise_of_a_crop_is_its_own(model: WaveformVAE, batch: CropBatch) -> None:
    whole = reconstruction_step(model, batch, LOSSES)
    halves = []
    for part in (slice(0, 2), slice(2, 4)):
        half = CropBatch(batch.waveform[part], RATE, batch.names[part], batch.seeds[part], 0, batch.position)
        halves.append(reconstruction_step(model, half, LOSSES))
    for name, value in whole.items():
        torch.testing.assert_close(value, (halves[0][name] + halves[1][name]) / 2, rtol=1e-5, atol=0)


def test_a_step_lowers_the_loss(model: WaveformVAE, batch: CropBatch) -> None:
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-6)
    before = weighted_sum(reconstruction_step(model, batch, LOSSES), WEIGHTS, 0)
    before.backward()
    optimizer.step()
    after = weighted_sum(reconstruction_step(model, batch, LOSSES), WEIGHTS, 0)
    assert after < before


def test_bfloat16_changes_the_terms_by_its_rounding_only(model: WaveformVAE, batch: CropBatch) -> None:
    exact = reconstruction_step(model, batch, LOSSES)
    accelerator = Accelerator(cpu=True)
    with torch.autocast("cpu", torch.bfloat16):
        rounded = reconstruction_step(accelerator.prepare(model), batch, LOSSES)
    weighted_sum(rounded, WEIGHTS, 0).backward()
    assert all(bool(torch.isfinite(p.grad).all()) for p in model.parameters())
    for name, value in exact.items():
        # Eight bits a number, through some thirty layers.
        torch.testing.assert_close(rounded[name].float(), value, rtol=0.05, atol=0)
