import torch.nn.functional as F
from diffusers import ConfigMixin, ModelMixin
from diffusers.configuration_utils import register_to_config
from torch import Tensor, nn

from hf_audio_vae.discriminators.layers import ScoringStack, check_sizes, check_waveform, collect
from hf_audio_vae.discriminators.output import DiscriminatorOutput
from hf_audio_vae.modules.convolution import WeightNormConv2d

CHANNEL_MULTIPLES = (1, 4, 16, 32)


class MultiPeriodDiscriminator(ModelMixin, ConfigMixin):
    """Discriminates waveforms folded at several periods (Kong et al., 2020, arXiv:2010.05646, section 2.3).

    Each sub-discriminator folds the waveform at a period p to (time / p, p) and convolves along time only, four times
    with stride 3 and once with stride 1. Reflection padding completes the last period.

    Args:
        audio_channels (`int`): Channels of the waveform.
        hidden_channels (`int`): Channels of the first layer; the others have 4, 16, 32 and 32 times as many. 32 in
            HiFi-GAN and DAC.
        periods (`tuple[int, ...]`): Periods in samples; primes overlap least.

    Raises:
        ValueError: A number is not positive.

    Example:
        >>> discriminator = MultiPeriodDiscriminator(audio_channels=1, hidden_channels=2, periods=(2, 3))
        >>> [tuple(logits.shape) for logits in discriminator(torch.randn(3, 1, 4000)).logits]
        [(3, 1, 25, 2), (3, 1, 17, 3)]
    """

    @register_to_config
    def __init__(
        self, audio_channels: int = 1, hidden_channels: int = 32, periods: tuple[int, ...] = (2, 3, 5, 7, 11)
    ) -> None:
        super().__init__()
        check_sizes(audio_channels=audio_channels, hidden_channels=hidden_channels, periods=periods)
        self.folds = nn.ModuleList(_stack(audio_channels, hidden_channels) for _ in periods)

    def forward(self, waveform: Tensor) -> DiscriminatorOutput:
        """Score a waveform (batch, audio_channels, time); maps are (batch, channels, time / period / stride, period).

        Raises:
            ValueError: Wrong rank or channel count.
        """
        check_waveform(waveform, self.config.audio_channels)
        waveform = waveform.to(self.dtype)
        periods = self.config.periods
        return collect(stack(_fold(waveform, period)) for stack, period in zip(self.folds, periods, strict=True))


def _stack(in_channels: int, channels: int) -> ScoringStack:
    widths = (in_channels, *(channels * multiple for multiple in CHANNEL_MULTIPLES))
    hidden = [
        *(WeightNormConv2d(n, m, (5, 1), stride=(3, 1)) for n, m in zip(widths, widths[1:], strict=False)),
        WeightNormConv2d(widths[-1], widths[-1], (5, 1)),
    ]
    return ScoringStack(hidden, WeightNormConv2d(widths[-1], 1, (3, 1)), negative_slope=0.1)


def _fold(waveform: Tensor, period: int) -> Tensor:
    """(batch, audio_channels, time) -> (batch, audio_channels, ceil(time / period), period)."""
    missing = -waveform.shape[-1] % period
    # A reflection needs more samples than it adds; shorter waveforms are zero-padded.
    mode = "reflect" if missing < waveform.shape[-1] else "constant"
    return F.pad(waveform, (0, missing), mode=mode).unflatten(-1, (-1, period))
