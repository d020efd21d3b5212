import pytest
import torch

from hf_audio_vae import WaveformVAE, WaveformVQVAE, WaveformVQVAEConfig
from hf_audio_vae.discriminators import DiscriminatorEnsemble
from hf_audio_vae.losses import (
    CapacityAnnealing,
    FreeBits,
    GradientBalancer,
    HingeLoss,
    LinearAnnealing,
    WaveformL1Loss,
    WaveformMSELoss,
)
from hf_audio_vae.training.autoencoder.objective import AdversarialSchedule, Adversary, AutoencoderObjective
from hf_audio_vae.training.autoencoder.steps import adversarial_step, reconstruction_step
from hf_audio_vae.training.objective import StepLosses

LOSSES = {"waveform_l1": WaveformL1Loss(), "waveform_mse": WaveformMSELoss()}
PLAIN = {"waveform_l1": 2.0, "waveform_mse": 3.0, "kl": 0.1}
GAME = PLAIN | {"adversarial": 0.5, "feature_matching": 4.0}


def adversary(**when: int) -> Adversary:
    torch.manual_seed(1)
    judge = DiscriminatorEnsemble(1, multi_scale_stft={"hidden_channels": 4, "window_lengths": (128, 64)})
    return Adversary(judge, HingeLoss(), AdversarialSchedule(**when))


def end_step(objective: AutoencoderObjective, *made: StepLosses) -> None:
    """What the loop does with the measurements of a step's batches."""
    names = made[0].measured
    means = {name: torch.stack([one.measured[name] for one in made]).mean(dim=0) for name in names}
    objective.end_step({name: mean.flatten().tolist() for name, mean in means.items()})


def gradients(model: WaveformVAE, loss: torch.Tensor) -> dict[str, torch.Tensor | None]:
    model.zero_grad()
    loss.backward()
    return {name: parameter.grad for name, parameter in model.named_parameters()}


def test_the_loss_is_the_weighted_sum_of_what_is_logged(model, batches) -> None:
    made = AutoencoderObjective(model, LOSSES, PLAIN | {"kl": LinearAnnealing(0.4, 10)})(batches[0], step=5)
    expected = 2 * made.logged["waveform_l1"] + 3 * made.logged["waveform_mse"] + 0.2 * made.logged["kl"]
    torch.testing.assert_close(made.losses["model"], expected)
    assert made.logged["kl_weight"].item() == pytest.approx(0.2)


def test_the_game_begins_at_its_step_and_the_discriminator_takes_turns(model, batches) -> None:
    objective = AutoencoderObjective(model, LOSSES, GAME, adversary=adversary(start_step=3, update_interval=2))
    steps = [objective(batches[0], step) for step in range(7)]
    assert ["adversarial" in made.logged for made in steps] == [False] * 3 + [True] * 4
    assert ["discriminator" in made.losses for made in steps] == [False] * 3 + [True, False, True, False]
    with_game = steps[4]
    game = 0.5 * with_game.logged["adversarial"] + 4 * with_game.logged["feature_matching"]
    torch.testing.assert_close(with_game.losses["model"], steps[0].losses["model"] + game)


def test_a_warm_up_trains_the_discriminator_alone_and_changes_nothing_else(model, batches) -> None:
    when = {"start_step": 1, "warmup_discriminator_steps": 2, "update_interval": 2}
    game = adversary(**when)
    objective = AutoencoderObjective(model.train(), LOSSES, GAME, adversary=game, balancer=GradientBalancer())
    steps = [objective(batches[0], step) for step in range(7)]
    assert [made.losses.keys() for made in steps] == [
        {"model"},
        {"discriminator"},
        {"discriminator"},
        {"model", "discriminator"},
        {"model"},
        {"model", "discriminator"},
        {"model"},
    ]
    assert game.schedule.count_updates(7) == 4
    assert model.training
    assert not steps[1].measured and "kl" in steps[3].measured
    steps[1].losses["discriminator"].backward()
    assert all(parameter.grad is None for parameter in model.parameters())
    assert all(parameter.grad is not None for parameter in game.discriminator.parameters())


def test_codebooks_do_not_learn_in_a_warm_up(batches) -> None:
    config = WaveformVQVAEConfig(
        encoder_hidden_size=4,
        decoder_hidden_size=8,
        downsampling_ratios=(2,),
        hidden_size=4,
        codebook_size=8,
        codebook_learning="ema",
    )
    codec = WaveformVQVAE(config).train()
    before = {name: value.clone() for name, value in codec.state_dict().items()}
    weights = {"waveform_l1": 2.0, "waveform_mse": 3.0, "commitment": 1.0, "adversarial": 1.0, "feature_matching": 1.0}
    objective = AutoencoderObjective(codec, LOSSES, weights, adversary=adversary(warmup_discriminator_steps=1))
    objective(batches[0], 0)
    assert all(torch.equal(before[name], value) for name, value in codec.state_dict().items())
    objective(batches[0], 1)
    assert not all(torch.equal(before[name], value) for name, value in codec.state_dict().items())


def test_with_the_encoder_frozen_only_the_decoder_learns_and_the_kl_is_left_out(model, batches) -> None:
    objective = AutoencoderObjective(model, LOSSES, PLAIN, decoder_only_from_step=2)
    assert all(
        gradient is not None for gradient in gradients(model, objective(batches[0], 1).losses["model"]).values()
    )
    made = objective(batches[0], 2)
    torch.testing.assert_close(made.losses["model"], 2 * made.logged["waveform_l1"] + 3 * made.logged["waveform_mse"])
    for name, gradient in gradients(model, made.losses["model"]).items():
        assert (gradient is None) == name.startswith("encoder."), name


def test_free_bits_take_the_pressure_off_the_channels_that_have_little(model, batches) -> None:
    objective = AutoencoderObjective(model, LOSSES, PLAIN | {"kl": FreeBits(0.1, bits=1.0)})
    objective.weights["kl"].update([5.0, 0.1])
    made = objective(batches[0], 0)
    kl = model(batches[0].waveform).latent_dist.kl().mean(dim=(0, 2))
    expected = 2 * made.logged["waveform_l1"] + 3 * made.logged["waveform_mse"] + 0.1 * kl[0]
    torch.testing.assert_close(made.losses["model"], expected)


def test_a_control_learns_the_mean_of_a_steps_batches(model, batches) -> None:
    objective = AutoencoderObjective(model, LOSSES, PLAIN | {"kl": CapacityAnnealing(0.1, nats=5.0, steps=10)})
    objective(batches[2], 0)
    assert objective.weights["kl"].mean is None
    end_step(objective, *(objective(batch, 0) for batch in batches[:2]))
    expected = torch.stack([model(batch.waveform).latent_dist.kl().mean(dim=(0, 2)) for batch in batches[:2]]).mean(0)
    assert objective.weights["kl"].mean == pytest.approx(expected.tolist(), rel=1e-5)


def test_balanced_terms_reach_the_waveform_by_their_shares_and_the_kl_by_its_weight(model, batches) -> None:
    balancer, opponent = GradientBalancer(), adversary()
    objective = AutoencoderObjective(model, LOSSES, GAME, adversary=opponent, balancer=balancer)
    first = objective(batches[0], 0)
    only_kl = gradients(model, first.losses["model"])
    kl = gradients(model, 0.1 * model(batches[0].waveform).losses["kl"])
    torch.testing.assert_close(only_kl["encoder.conv2.weight_v"], kl["encoder.conv2.weight_v"])
    end_step(objective, first)
    assert balancer.steps.keys() == GAME.keys() - {"kl"}
    made = reconstruction_step(model, batches[0], LOSSES)
    terms = made.distances
    terms |= adversarial_step(opponent.discriminator, batches[0].waveform, made.waveform, HingeLoss()).generator
    scalar, _ = balancer(terms, {name: GAME[name] for name in terms}, made.waveform)
    expected = gradients(model, scalar + 0.1 * made.regularisers["kl"].sum())
    for name, gradient in gradients(model, objective(batches[0], 1).losses["model"]).items():
        torch.testing.assert_close(gradient, expected[name])


def test_balanced_with_the_encoder_frozen_there_is_nothing_beside_the_balance(model, batches) -> None:
    objective = AutoencoderObjective(model, LOSSES, PLAIN, balancer=GradientBalancer(), decoder_only_from_step=0)
    for step, anything in ((0, False), (1, True)):
        made = objective(batches[0], step)
        reached = gradients(model, made.losses["model"])
        end_step(objective, made)
        assert any(bool(gradient.any()) for gradient in reached.values() if gradient is not None) == anything


def test_its_state_holds_control_and_balancer(model, batches) -> None:
    def make() -> AutoencoderObjective:
        return AutoencoderObjective(
            model, LOSSES, PLAIN | {"kl": FreeBits(0.1, bits=1.0)}, balancer=GradientBalancer()
        )

    first, second = make(), make()
    for objective in (first, first):
        end_step(objective, objective(batches[0], 0))
    second.load_state_dict(first.state_dict())
    assert torch.equal(first(batches[1], 2).losses["model"], second(batches[1], 2).losses["model"])
    assert AutoencoderObjective(model, LOSSES, PLAIN).state_dict() == {}


def test_terms_and_weights_have_to_have_the_same_names(model, batches) -> None:
    with pytest.raises(ValueError, match="commitment"):
        AutoencoderObjective(model, LOSSES, PLAIN | {"commitment": 1.0})(batches[0], 0)
    with pytest.raises(ValueError, match="waveform_mse"):
        AutoencoderObjective(model, LOSSES, {"waveform_l1": 1.0, "kl": 0.1})(batches[0], 0)
