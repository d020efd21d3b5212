import torch
import torch.nn.functional as F
from torch import Tensor

from hf_audio_vae.modules.quantization.gradients import rotate_through, straight_through


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def vectors(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=seeded(seed), dtype=torch.float64).requires_grad_()


def test_straight_through_has_the_value_of_one_and_the_gradient_of_the_other():
    x, q, weight = vectors(2, 3, 4), vectors(2, 3, 4, seed=1), vectors(2, 3, 4, seed=2)
    y = straight_through(x, q)
    assert torch.equal(y, q)
    (y * weight).sum().backward()
    assert torch.equal(x.grad, weight)
    assert q.grad is None


def rotation(x: Tensor, q: Tensor) -> Tensor:
    """The rotation that takes x's direction to q's in their plane and leaves the rest, by its definition."""
    a = x / x.norm()
    b = q / q.norm()
    angle = torch.acos(a @ b)
    u = b - (a @ b) * a
    u = u / u.norm()
    plane = torch.outer(u, a) - torch.outer(a, u)
    projection = torch.outer(a, a) + torch.outer(u, u)
    identity = torch.eye(len(x), dtype=x.dtype)
    return identity + torch.sin(angle) * plane + (torch.cos(angle) - 1) * projection


def test_rotate_through_has_the_gradient_of_the_rotation_to_the_code():
    x, q, weight = vectors(2, 5, 3), vectors(2, 5, 3, seed=1), vectors(2, 5, 3, seed=2)
    y = rotate_through(x, q)
    assert torch.equal(y, q)
    (y * weight).sum().backward()
    for item in range(2):
        for frame in range(3):
            a, b = x[item, :, frame].detach(), q[item, :, frame].detach()
            matrix = rotation(a, b)
            torch.testing.assert_close(matrix @ a / a.norm(), b / b.norm(), rtol=0, atol=1e-12)
            expected = b.norm() / a.norm() * matrix.T @ weight[item, :, frame].detach()
            torch.testing.assert_close(x.grad[item, :, frame], expected, rtol=0, atol=1e-12)


def test_rotation_keeps_the_angle_between_gradient_and_vector():
    x, q, weight = vectors(1, 6, 20), vectors(1, 6, 20, seed=1), vectors(1, 6, 20, seed=2)
    (rotate_through(x, q) * weight).sum().backward()
    before = F.cosine_similarity(x.detach(), x.grad, dim=1)
    after = F.cosine_similarity(q.detach(), weight.detach(), dim=1)
    torch.testing.assert_close(before, after, rtol=0, atol=1e-12)


def test_rotation_is_finite_where_there_is_no_direction():
    x = torch.tensor([[0.0, 1.0, 0.0], [0.0, 0.0, 1.0]])[None].requires_grad_()
    q = torch.tensor([[1.0, -1.0, 0.0], [1.0, 0.0, 0.0]])[None]  # from zero, to the opposite, to zero
    y = rotate_through(x, q)
    assert torch.equal(y, q)
    y.sum().backward()
    assert x.grad.abs().max() <= 3
