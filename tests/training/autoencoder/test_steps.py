import pytest
import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState

from hf_audio_vae import (
    HierarchicalVQVAE,
    HierarchicalVQVAEConfig,
    WaveformVAE,
    WaveformVQVAE,
    WaveformVQVAEConfig,
)
from hf_audio_vae.data import CropBatch
from hf_audio_vae.data.streaming import Origin
from hf_audio_vae.discriminators import DiscriminatorEnsemble
from hf_audio_vae.losses import HingeLoss, LeastSquaresLoss, MultiResolutionSTFTLoss, WaveformL1Loss, weighted_sum
from hf_audio_vae.training.autoencoder.steps import adversarial_step, reconstruction_step

RATE = 8000
LOSSES = {
    "waveform_l1": WaveformL1Loss(),
    "multi_resolution_stft": MultiResolutionSTFTLoss(sampling_rate=RATE, window_lengths=(128, 32)),
}
WEIGHTS = {"waveform_l1": 1.0, "multi_resolution_stft": 1.0, "kl": 1e-3}


@pytest.fixture
def discriminator() -> DiscriminatorEnsemble:
    torch.manual_seed(1)
    return DiscriminatorEnsemble(1, multi_scale_stft={"hidden_channels": 4, "window_lengths": (128, 64)})


def terms_of(model: torch.nn.Module, batch: CropBatch) -> dict[str, torch.Tensor]:
    made = reconstruction_step(model, batch, LOSSES)
    return made.distances | made.regularisers


def test_terms_are_the_losses_and_the_kl_of_each_channel(model: WaveformVAE, batch: CropBatch) -> None:
    made = reconstruction_step(model, batch, LOSSES)
    assert made.distances.keys() == LOSSES.keys()
    posterior = model.encode(batch.waveform).latent_dist
    torch.testing.assert_close(made.regularisers["kl"], posterior.kl().mean(dim=(0, 2)))
    torch.testing.assert_close(made.distances["waveform_l1"], (made.waveform - batch.waveform).abs().mean())


def test_the_noise_of_a_crop_is_its_own(model: WaveformVAE, batch: CropBatch) -> None:
    whole = terms_of(model, batch)
    halves = []
    for part in (slice(0, 2), slice(2, 4)):
        origin = Origin(batch.names[part], batch.seeds[part], 0, batch.origin.position)
        half = CropBatch(origin, batch.waveform[part], RATE)
        halves.append(terms_of(model, half))
    for name, value in whole.items():
        torch.testing.assert_close(value, (halves[0][name] + halves[1][name]) / 2, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("joint", [False, True])
@pytest.mark.parametrize("precision", ["no", "bf16"])
def test_every_level_is_brought_near_the_batch_once(batch: CropBatch, joint: bool, precision: str) -> None:
    sizes = {"downsampling_counts": (2, 1), "strides": (2, 2), "level_multipliers": (1, 1), "width": 4, "depth": 1}
    torch.manual_seed(0)
    levels = HierarchicalVQVAE(
        HierarchicalVQVAEConfig(**sizes, hidden_size=4, codebook_size=8, sampling_rate=RATE, joint_decoding=joint)
    ).eval()
    output = levels(batch.waveform)
    AcceleratorState._reset_state(reset_partial_state=True)
    wrapped = Accelerator(mixed_precision=precision, cpu=True).prepare(levels)
    AcceleratorState._reset_state(reset_partial_state=True)
    made = reconstruction_step(wrapped, batch, LOSSES)
    assert len(made.waveform) == len(made.target) == (3 if joint else 2) * len(batch.waveform)
    expected = [*output.level_values, output.audio_values] if joint else output.level_values
    distance = torch.stack([(sound - batch.waveform).abs().mean() for sound in expected]).mean()
    torch.testing.assert_close(made.distances["waveform_l1"], distance, rtol=3e-2, atol=0)  # bfloat16
    assert made.regularisers.keys() == {"commitment"}


def test_the_codebooks_of_a_crop_are_its_own_draw(batch: CropBatch) -> None:
    config = WaveformVQVAEConfig(
        encoder_hidden_size=4,
        decoder_hidden_size=8,
        downsampling_ratios=(2,),
        hidden_size=4,
        num_codebooks=4,
        codebook_size=16,
        codebook_dim=2,
        quantizer_dropout=1.0,
        restart_share=None,
        sampling_rate=RATE,
    )
    torch.manual_seed(0)
    codec = WaveformVQVAE(config)
    with torch.no_grad():
        codec(batch.waveform)
    origin = Origin(batch.names[1:3], batch.seeds[1:3], 0, batch.origin.position)
    whole = reconstruction_step(codec, batch, LOSSES)
    part = reconstruction_step(codec, CropBatch(origin, batch.waveform[1:3], RATE), LOSSES)
    torch.testing.assert_close(part.waveform, whole.waveform[1:3], rtol=1e-4, atol=1e-6)


def test_a_step_lowers_the_loss(model: WaveformVAE, batch: CropBatch) -> None:
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-6)
    before = weighted_sum(terms_of(model, batch), WEIGHTS)
    before.backward()
    optimizer.step()
    assert weighted_sum(terms_of(model, batch), WEIGHTS) < before


def test_bfloat16_changes_the_terms_by_its_rounding_only(
    model: WaveformVAE, discriminator: DiscriminatorEnsemble, batch: CropBatch
) -> None:
    def everything() -> dict[str, torch.Tensor]:
        made = reconstruction_step(model, batch, LOSSES)
        terms = adversarial_step(discriminator, batch.waveform, made.waveform, HingeLoss())
        return made.distances | made.regularisers | terms.generator | {"discriminator": terms.discriminator}

    exact = everything()
    accelerator = Accelerator(cpu=True)
    model, discriminator = accelerator.prepare(model, discriminator)
    with torch.autocast("cpu", torch.bfloat16):
        rounded = everything()
    torch.stack([term.sum() for term in rounded.values()]).sum().backward()
    for network in (model, discriminator):
        assert all(bool(torch.isfinite(p.grad).all()) for p in network.parameters())
    for name, value in exact.items():
        # Eight bits a number, through some thirty layers.
        torch.testing.assert_close(rounded[name].float(), value, rtol=0.05, atol=0.005)


@pytest.mark.parametrize("train_discriminator", [True, False])
def test_each_players_loss_reaches_its_own_parameters_alone(
    model: WaveformVAE, discriminator: DiscriminatorEnsemble, batch: CropBatch, train_discriminator: bool
) -> None:
    made = reconstruction_step(model, batch, LOSSES)
    terms = adversarial_step(
        discriminator, batch.waveform, made.waveform, HingeLoss(), train_discriminator=train_discriminator
    )
    torch.stack(list(terms.generator.values())).sum().backward()
    assert all(p.grad is not None for p in model.decoder.parameters())
    assert all(p.grad is None for p in discriminator.parameters())
    assert all(p.requires_grad for p in discriminator.parameters())
    model.zero_grad()
    assert (terms.discriminator is not None) == train_discriminator
    if train_discriminator:
        terms.discriminator.backward()
        gradients = {name: p.grad for name, p in discriminator.named_parameters()}
        assert all(gradient is not None for gradient in gradients.values())
        # Real and generated sound may cancel in the gradient of a bias.
        assert all(gradient.any() for name, gradient in gradients.items() if not name.endswith("bias"))
        assert all(p.grad is None for p in model.parameters())


def test_the_generators_terms_do_not_depend_on_whether_the_discriminator_learns(
    discriminator: DiscriminatorEnsemble, batch: CropBatch
) -> None:
    fake = 0.5 * batch.waveform
    with_it, without = (
        adversarial_step(discriminator, batch.waveform, fake, HingeLoss(), train_discriminator=learns).generator
        for learns in (True, False)
    )
    for name, value in with_it.items():
        torch.testing.assert_close(value, without[name], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    "loss",
    [
        pytest.param(HingeLoss(), id="hinge"),
        pytest.param(LeastSquaresLoss(), id="least_squares", marks=pytest.mark.slow),
    ],
)
@pytest.mark.parametrize(
    "kind",
    [
        {"multi_period": {"hidden_channels": 2, "periods": (2, 3, 5)}},
        {"multi_resolution": {"hidden_channels": 4, "window_lengths": (256, 128), "band_edges": (0.5,)}},
        {"multi_scale_stft": {"hidden_channels": 4, "window_lengths": (256, 64)}},
    ],
)
def test_on_a_fixed_pair_each_player_can_win(batch: CropBatch, loss, kind) -> None:
    """The discriminator learns to tell a pair apart; then a waveform learns to pass for real."""
    torch.manual_seed(0)
    judge = DiscriminatorEnsemble(1, **kind)
    real, fake = batch.waveform[:1], batch.waveform[:1] + 0.1 * torch.randn(1, 1, 900)
    optimizer = torch.optim.Adam(judge.parameters(), 3e-3)
    rounds = []
    for _ in range(60):
        rounds.append(adversarial_step(judge, real, fake, loss))
        optimizer.zero_grad()
        rounds[-1].discriminator.backward()
        optimizer.step()
    assert rounds[0].accuracy < 0.7
    assert rounds[-1].accuracy > 0.8
    fake = fake.clone().requires_grad_()
    optimizer = torch.optim.Adam([fake], 3e-3)
    terms = []
    for _ in range(30):
        terms.append(adversarial_step(judge, real, fake, loss, train_discriminator=False).generator)
        optimizer.zero_grad()
        (terms[-1]["adversarial"] + terms[-1]["feature_matching"]).backward()
        optimizer.step()
    assert terms[-1]["adversarial"] < terms[0]["adversarial"] - 0.1
    assert terms[-1]["feature_matching"] < terms[0]["feature_matching"]


def test_an_autoencoder_learns_to_convince_a_discriminator_that_stands_still(
    model: WaveformVAE, discriminator: DiscriminatorEnsemble, batch: CropBatch
) -> None:
    optimizer = torch.optim.Adam(model.parameters(), 3e-3)
    losses = []
    for _ in range(25):
        fake = reconstruction_step(model, batch, LOSSES).waveform
        terms = adversarial_step(discriminator, batch.waveform, fake, HingeLoss(), train_discriminator=False).generator
        losses.append(weighted_sum(terms, {"adversarial": 1.0, "feature_matching": 5.0}))
        optimizer.zero_grad()
        losses[-1].backward()
        optimizer.step()
    assert losses[-1] < 0.5 * losses[0]
