import pytest
import torch
from torch import Tensor

from hf_audio_vae.losses import HingeLoss, LeastSquaresLoss, feature_matching
from hf_audio_vae.losses.adversarial import accuracy

LOSSES = [HingeLoss(), LeastSquaresLoss()]


def scores(*values: float) -> list[Tensor]:
    """One sub-discriminator for each value, with maps of different sizes."""
    return [torch.full((2, 1, 3 + i), value) for i, value in enumerate(values)]


def test_hinge_is_the_formula():
    real, fake = torch.randn(4, 1, 5, generator=torch.Generator().manual_seed(0)).split(2)
    expected = torch.clamp(1 - real, min=0).mean() + torch.clamp(1 + fake, min=0).mean()
    torch.testing.assert_close(HingeLoss().discriminator([real], [fake]), expected)
    torch.testing.assert_close(HingeLoss().generator([fake]), -fake.mean())


def test_least_squares_is_the_formula():
    real, fake = torch.randn(4, 1, 5, generator=torch.Generator().manual_seed(0)).split(2)
    expected = (1 - real).pow(2).mean() + fake.pow(2).mean()
    torch.testing.assert_close(LeastSquaresLoss().discriminator([real], [fake]), expected)
    torch.testing.assert_close(LeastSquaresLoss().generator([fake]), (1 - fake).pow(2).mean())


@pytest.mark.parametrize("loss", LOSSES, ids=lambda loss: type(loss).__name__)
class TestBothLosses:
    def test_a_discriminator_that_is_sure_and_right_has_nothing_to_gain(self, loss):
        far_fake = -1.0 if isinstance(loss, HingeLoss) else 0.0
        assert loss.discriminator(scores(1.0, 1.0), scores(far_fake, far_fake)).item() == 0
        assert loss.discriminator(scores(far_fake, far_fake), scores(1.0, 1.0)).item() > 1

    def test_the_two_pull_a_fake_score_in_opposite_directions(self, loss):
        score = torch.full((1, 1, 4), loss.boundary, requires_grad=True)
        (down,) = torch.autograd.grad(loss.discriminator([torch.ones(1, 1, 4)], [score]), score)
        (up,) = torch.autograd.grad(loss.generator([score]), score)
        assert (down > 0).all()
        assert (up < 0).all()

    def test_every_sub_discriminator_has_one_vote_whatever_its_size(self, loss):
        fake = [torch.zeros(2, 1, 1000), torch.ones(2, 1, 2)]
        alone = (loss.generator(fake[:1]) + loss.generator(fake[1:])) / 2
        torch.testing.assert_close(loss.generator(fake), alone)

    def test_a_batch_is_the_mean_of_its_items(self, loss):
        generator = torch.Generator().manual_seed(0)
        real, fake = ([torch.randn(3, 1, n, generator=generator) for n in (4, 9)] for _ in range(2))
        items = [loss.discriminator([r[i] for r in real], [f[i] for f in fake]) for i in range(3)]
        torch.testing.assert_close(loss.discriminator(real, fake), torch.stack(items).mean())


def test_feature_matching_is_the_mean_over_layers_then_discriminators():
    real = [[torch.zeros(1, 2, 5), torch.zeros(1, 4, 3)], [torch.zeros(1, 1, 7)]]
    fake = [[torch.full((1, 2, 5), -1.0), torch.full((1, 4, 3), 3.0)], [torch.full((1, 1, 7), 6.0)]]
    assert feature_matching(real, fake).item() == pytest.approx(((1 + 3) / 2 + 6) / 2)
    assert feature_matching(real, real).item() == 0


def test_accuracy_counts_scores_on_the_right_side():
    assert accuracy(scores(0.5), scores(-0.5), boundary=0.0).item() == 1
    assert accuracy(scores(-0.5), scores(0.5), boundary=0.0).item() == 0
    assert accuracy(scores(0.5), scores(0.5), boundary=0.0).item() == 0.5
    assert accuracy(scores(0.6, 0.4), scores(0.4, 0.4), boundary=0.5).item() == 0.75


@pytest.mark.parametrize("boundary", [0.0, 0.5])
def test_a_score_exactly_on_the_boundary_means_fake(boundary):
    assert accuracy(scores(boundary), scores(boundary), boundary).item() == 0.5
    assert accuracy(scores(boundary), scores(boundary - 1), boundary).item() == 0.5
    assert accuracy(scores(boundary + 1), scores(boundary), boundary).item() == 1


@pytest.mark.parametrize("loss", LOSSES, ids=lambda loss: type(loss).__name__)
@pytest.mark.parametrize("size", [0.0, 1e-30, 1e3, 1e15])
def test_scores_of_any_size_give_finite_losses_and_gradients(loss, size):
    real, fake = torch.full((2, 1, 4), size, requires_grad=True), torch.full((2, 1, 4), -size, requires_grad=True)
    total = loss.discriminator([real], [fake]) + loss.generator([fake]) + feature_matching([[real]], [[fake]])
    gradients = torch.autograd.grad(total, (real, fake))
    assert total.isfinite()
    assert all(gradient.isfinite().all() for gradient in gradients)
