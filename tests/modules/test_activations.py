import math

import torch
from diffusers.models.autoencoders.autoencoder_oobleck import Snake1d as OobleckSnake1d
from torch import Tensor

from hf_audio_vae.modules.activations import Snake1d


def noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def trained_snake(channels: int) -> Snake1d:
    snake = Snake1d(channels).double()
    snake.alpha.data.copy_(0.5 * noise(1, channels, 1, seed=1))
    snake.beta.data.copy_(0.5 * noise(1, channels, 1, seed=2))
    return snake


def test_snake_follows_its_formula():
    snake, x = trained_snake(3), noise(2, 3, 50)
    alpha, beta = snake.alpha.exp(), snake.beta.exp()
    # 1 - cos(2 a x) = 2 sin²(a x); the 1e-9 that keeps the division finite is far below 1e-8
    torch.testing.assert_close(snake(x), x + (1 - torch.cos(2 * alpha * x)) / (2 * beta), rtol=1e-8, atol=1e-8)


def test_snake_repeats_itself_on_top_of_the_identity():
    snake, x = trained_snake(3), noise(2, 3, 50)
    period = math.pi / snake.alpha.exp()
    torch.testing.assert_close(snake(x + period), snake(x) + period, rtol=1e-12, atol=1e-12)


def test_snake_equals_the_one_of_oobleck():
    snake, x = trained_snake(3), noise(2, 3, 50)
    oobleck = OobleckSnake1d(3).double()
    oobleck.load_state_dict(snake.state_dict())
    torch.testing.assert_close(snake(x), oobleck(x), rtol=1e-14, atol=1e-14)


def test_gradients_of_snake_match_finite_differences():
    snake = trained_snake(2)
    inputs = (noise(2, 2, 4).requires_grad_(), snake.alpha, snake.beta)

    def run(x: Tensor, alpha: Tensor, beta: Tensor) -> Tensor:
        return torch.func.functional_call(snake, {"alpha": alpha, "beta": beta}, (x,))

    assert torch.autograd.gradcheck(run, inputs)
