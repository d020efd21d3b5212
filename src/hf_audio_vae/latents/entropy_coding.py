"""Latents as bytes: quantized uniformly, and entropy-coded with a Gaussian for each channel.

A posterior of variance `s ** 2` does not know the latents better than that. A uniform quantizer with the step `s` adds
the variance `s ** 2 / 12`, less than a sample of the posterior would; one with the step `sqrt(12) * s` adds as much
(Balle et al., 2017, arXiv:1611.01704, relate both).
"""

from dataclasses import dataclass
from types import ModuleType

import torch
from torch import Tensor

LARGEST = 1 << 20  # quantization levels on each side of the mean


@dataclass(frozen=True)
class CodedLatents:
    """Latents as the words of a range coder, with what decoding needs.

    Args:
        words (`torch.Tensor` of shape `(num_words,)`): int32, the compressed bits.
        center (`torch.Tensor` of shape `(latent_channels,)`): float32, mean of each channel.
        step (`torch.Tensor` of shape `(latent_channels,)`): float32, quantization step of each channel.
        deviation (`torch.Tensor` of shape `(latent_channels,)`): float32, standard deviation of the levels.
        frames (`int`): Number of frames.
        largest (`int`): Largest absolute level.
    """

    words: Tensor
    center: Tensor
    step: Tensor
    deviation: Tensor
    frames: int
    largest: int

    @property
    def num_bytes(self) -> int:
        """Size of the words and of the numbers of the channels."""
        return sum(4 * values.numel() for values in (self.words, self.center, self.step, self.deviation))


def code_latents(mean: Tensor, std: Tensor, *, relative_step: float = 1.0) -> CodedLatents:
    """Quantize and code the mean of a posterior.

    Args:
        mean (`torch.Tensor` of shape `(latent_channels, frames)`): Finite.
        std (`torch.Tensor`, same shape): Standard deviation of the posterior.
        relative_step (`float`): Quantization step of a channel in units of the mean of its `std` over the frames,
            above 0. Larger steps have fewer bits and more error.

    Raises:
        ValueError: The step is not positive, or so small that there would be too many levels.
        ModuleNotFoundError: constriction is not installed.
    """
    if not relative_step > 0:
        raise ValueError(f"`relative_step` is {relative_step}; give a number above 0, such as 1.")
    center = mean.mean(dim=1)
    step = (relative_step * std.mean(dim=1)).clamp(min=torch.finfo(torch.float32).tiny)
    levels = ((mean - center[:, None]).double() / step[:, None].double()).round()
    largest = max(int(levels.abs().max()), 1)
    if largest > LARGEST:
        raise ValueError(f"the latents would have {largest} levels on each side; use a larger step.")
    deviation = levels.std(dim=1, correction=0).clamp(min=0.1).float()
    coder = _constriction().stream.queue.RangeEncoder()
    # (latent_channels, frames) -> (latent_channels * frames,), channel by channel
    coder.encode(levels.int().reshape(-1).numpy(), _model(largest), *_parameters(deviation, mean.shape[1]))
    words = torch.from_numpy(coder.get_compressed().view("int32").copy())
    return CodedLatents(words, center.float(), step.float(), deviation, mean.shape[1], largest)


def decode_latents(coded: CodedLatents) -> Tensor:
    """Return the quantized latents, float32 (latent_channels, frames).

    Raises:
        ValueError: The words are not those of such latents.
        ModuleNotFoundError: constriction is not installed.
    """
    coder = _constriction().stream.queue.RangeDecoder(coded.words.numpy().view("uint32"))
    try:
        levels = coder.decode(_model(coded.largest), *_parameters(coded.deviation, coded.frames))
    except (ValueError, AssertionError) as error:
        raise ValueError(f"its compressed latents cannot be read: {error}") from error
    grid = torch.from_numpy(levels).reshape(len(coded.center), coded.frames)
    return coded.center[:, None] + grid * coded.step[:, None]


def _parameters(deviation: Tensor, frames: int) -> tuple[object, object]:
    """Return mean and standard deviation of each level, as float64 arrays."""
    deviations = deviation.double().repeat_interleave(frames)
    return torch.zeros_like(deviations).numpy(), deviations.numpy()


def _model(largest: int) -> object:
    return _constriction().stream.model.QuantizedGaussian(-largest, largest)


def _constriction() -> ModuleType:
    import constriction  # an extra

    return constriction
