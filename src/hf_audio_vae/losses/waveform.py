from torch import Tensor, nn


class WaveformL1Loss(nn.Module):
    """Mean absolute difference of samples: the likelihood of a Laplace observation model, up to scale."""

    def forward(self, estimate: Tensor, target: Tensor) -> Tensor:
        """(batch, audio_channels, time) twice -> scalar."""
        return (estimate - target).abs().mean()


class WaveformMSELoss(nn.Module):
    """Mean squared difference of samples: the likelihood of a Gaussian observation model, up to scale."""

    def forward(self, estimate: Tensor, target: Tensor) -> Tensor:
        """(batch, audio_channels, time) twice -> scalar."""
        return (estimate - target).square().mean()
