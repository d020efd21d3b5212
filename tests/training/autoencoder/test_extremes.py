"""Training steps on sound that is silent, constant, at full scale, far too loud or far too quiet."""

import json
import math
from collections.abc import Callable
from pathlib import Path

import pytest
import soundfile
import torch
from torch import Tensor

from hf_audio_vae import HierarchicalVQVAE, HierarchicalVQVAEConfig, WaveformVAE, WaveformVQVAE, WaveformVQVAEConfig
from hf_audio_vae.data import CropBatch
from hf_audio_vae.data.streaming import Origin, Position
from hf_audio_vae.discriminators import DiscriminatorEnsemble
from hf_audio_vae.losses import HingeLoss, MultiResolutionSTFTLoss, MultiScaleMelLoss, WaveformL1Loss, WaveformMSELoss
from hf_audio_vae.models import AutoencoderModel
from hf_audio_vae.training.autoencoder.steps import adversarial_step, reconstruction_step
from tests.training.runs import command, published_weights, run, write_recipe

RATE, TIME = 8000, 900
WINDOWS = (128, 32)
LOSSES = {
    "stft": MultiResolutionSTFTLoss(sampling_rate=RATE, window_lengths=WINDOWS),
    "mel": MultiScaleMelLoss(sampling_rate=RATE, window_lengths=WINDOWS, n_mels=(20, 5)),
    "l1": WaveformL1Loss(),
    "mse": WaveformMSELoss(),
}
CODEC = {
    "sampling_rate": RATE,
    "encoder_hidden_size": 4,
    "decoder_hidden_size": 8,
    "downsampling_ratios": (2, 3),
    "hidden_size": 8,
    "residual_dilations": (1,),
    "num_codebooks": 2,
    "codebook_size": 16,
    "codebook_dim": 4,
}
FINITE_SCALARS = {"fsq_levels": (5, 5), "num_codebooks": 1, "codebook_size": 25, "codebook_dim": None}
LEVELS = {
    "sampling_rate": RATE,
    "downsampling_counts": (2, 1),
    "strides": (2, 2),
    "level_multipliers": (1, 1),
    "hidden_size": 4,
    "width": 4,
    "depth": 1,
    "codebook_size": 13,
}
FAMILIES: dict[str, Callable[[], AutoencoderModel]] = {
    "vae": lambda: WaveformVAE(4, (2, 3), (1, 2), 4, 2, 1, RATE),
    "residual": lambda: WaveformVQVAE(WaveformVQVAEConfig(**CODEC)),
    "normalized": lambda: WaveformVQVAE(WaveformVQVAEConfig(**CODEC | {"normalize": True, "norm": "time_group_norm"})),
    "finite scalars": lambda: WaveformVQVAE(WaveformVQVAEConfig(**CODEC | FINITE_SCALARS)),
    "levels": lambda: HierarchicalVQVAE(HierarchicalVQVAEConfig(**LEVELS)),
}


def noise() -> Tensor:
    return 2 * torch.rand(1, TIME, generator=torch.Generator().manual_seed(0)) - 1


SIGNALS = (
    torch.zeros(1, TIME),
    torch.full((1, TIME), 0.5),
    noise().sign(),
    1e3 * noise(),
    1e-30 * noise(),
)


def discriminators() -> DiscriminatorEnsemble:
    return DiscriminatorEnsemble(
        1,
        multi_period={"hidden_channels": 2, "periods": (2, 3)},
        multi_resolution={"hidden_channels": 2, "window_lengths": (64,), "band_edges": (0.5,)},
        multi_scale_stft={"hidden_channels": 4, "window_lengths": (64,)},
    )


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16], ids=str)
@pytest.mark.parametrize("family", FAMILIES)
def test_terms_are_finite_and_a_step_leaves_finite_weights(family: str, dtype: torch.dtype) -> None:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model, judges = FAMILIES[family]().train(), discriminators()
    batch = CropBatch(Origin(5 * [""], [*range(5)], 0, Position()), torch.stack(SIGNALS), RATE)
    with torch.autocast("cpu", torch.bfloat16 if dtype == torch.float32 else dtype, dtype != torch.float32):
        made = reconstruction_step(model, batch, LOSSES)
        game = adversarial_step(judges, made.target, made.waveform, HingeLoss())
    terms = made.distances | made.regularisers | game.generator | {"discriminator": game.discriminator}
    assert all(bool(term.isfinite().all()) for term in terms.values()), terms

    # In float16 a gradient may overflow, and the scaler then skips the step; see `test_skipped_steps.py`.
    scaler = torch.amp.GradScaler("cpu", init_scale=1.0, enabled=dtype == torch.float16)
    parameters = [*model.parameters(), *judges.parameters()]
    optimizer = torch.optim.AdamW(parameters, lr=1e-3)
    scaler.scale(torch.stack([term.sum().float() for term in terms.values()]).sum()).backward()
    gradients = [p.grad for p in parameters if p.grad is not None]
    assert gradients
    assert dtype == torch.float16 or all(bool(gradient.isfinite().all()) for gradient in gradients)
    scaler.step(optimizer)
    assert all(bool(p.isfinite().all()) for p in (*parameters, *model.buffers()))


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["no", "bf16"])
def test_a_run_on_nothing_but_extremes_ends_with_finite_weights_and_metrics(precision: str, tmp_path: Path) -> None:
    (tmp_path / "sounds").mkdir()
    for number, signal in enumerate(SIGNALS):
        soundfile.write(tmp_path / f"sounds/{number}.wav", signal[0].repeat(2).numpy(), RATE, "FLOAT")
    data = {"dataset_name": str(tmp_path / "sounds"), "validation_dataset_name": str(tmp_path / "sounds")}
    recipe = write_recipe(tmp_path, **data, mixed_precision=precision, max_validation_samples=5, learning_rate=1e-4)
    finished = run(command(recipe, tmp_path / "out"))
    assert finished.returncode == 0, finished.stderr
    assert all(bool(weight.isfinite().all()) for weight in published_weights(tmp_path / "out").values())
    last = json.loads((tmp_path / "out/metrics.json").read_text())[-1]
    assert last["step"] == 8
    assert all(map(math.isfinite, last.values()))
