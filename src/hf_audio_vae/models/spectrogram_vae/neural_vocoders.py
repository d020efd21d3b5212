"""Vocoders of transformers and diffusers behind the interface of a `SpectrogramVAE`.

The bins, rate and hop are compared with the model's by `SpectrogramVAE.set_vocoder`. Their modules do not say which
mel scale and logarithm they were trained with: it has to be the model's (`LogMelSpectrogram`), as for HiFi-GAN.
"""

import math
from collections.abc import Callable

import torch
from diffusers.models.autoencoders.mmaudio_vocoder import MMAudioVocoder
from torch import Tensor, nn
from transformers import SpeechT5HifiGan, UnivNetModel


class NeuralVocoder:
    """A vocoder that calls a module for each audio channel; the module stays where and as it is.

    Args:
        module (`torch.nn.Module`): Its weights decide device and dtype.
        run (`Callable`): (items, frames, mel_bins) -> (items, time) or (items, 1, time), at least frames * hop_length.
        mel_bins (`int`): Bins of a spectrum.
        sampling_rate (`int`): Samples per second, in Hz.
        hop_length (`int`): Samples per frame.
    """

    def __init__(
        self, module: nn.Module, run: Callable[[Tensor], Tensor], *, mel_bins: int, sampling_rate: int, hop_length: int
    ) -> None:
        self.module, self.run = module, run
        self.mel_bins, self.sampling_rate, self.hop_length = mel_bins, sampling_rate, hop_length

    def __call__(self, mel: Tensor) -> Tensor:
        """(batch, audio_channels, frames, mel_bins) -> (batch, audio_channels, frames * hop_length)."""
        weight = next(self.module.parameters())
        waveform = self.run(mel.flatten(0, 1).to(weight.device, weight.dtype)).to(mel.device, mel.dtype)
        waveform = waveform.reshape(*mel.shape[:2], waveform.shape[-1])
        return waveform[..., : mel.shape[2] * self.hop_length]


def hifi_gan_vocoder(module: SpeechT5HifiGan) -> NeuralVocoder:
    """Wrap the HiFi-GAN of SpeechT5 and AudioLDM.

    Example:
        >>> from transformers import SpeechT5HifiGanConfig
        >>> sizes = {"upsample_initial_channel": 8, "upsample_rates": [4, 4], "upsample_kernel_sizes": [8, 8]}
        >>> vocoder = hifi_gan_vocoder(SpeechT5HifiGan(SpeechT5HifiGanConfig(**sizes)))
        >>> vocoder.hop_length, vocoder(torch.zeros(1, 2, 10, 80)).shape
        (16, torch.Size([1, 2, 160]))
    """
    config = module.config
    return NeuralVocoder(
        module,
        module,
        mel_bins=config.model_in_dim,
        sampling_rate=config.sampling_rate,
        hop_length=math.prod(config.upsample_rates),
    )


def univnet_vocoder(module: UnivNetModel, sampling_rate: int) -> NeuralVocoder:
    """Wrap UnivNet, whose configuration has no `sampling_rate`; its noise is the same for every item and call."""
    config = module.config

    def run(mel: Tensor) -> Tensor:
        shape = (1, mel.shape[1], config.model_in_channels)
        noise = torch.randn(shape, generator=torch.Generator().manual_seed(0)).to(mel)
        waveforms: Tensor = module(mel, noise_sequence=noise.expand(len(mel), -1, -1)).waveforms
        return waveforms

    return NeuralVocoder(
        module,
        run,
        mel_bins=config.num_mel_bins,
        sampling_rate=sampling_rate,
        hop_length=math.prod(config.resblock_stride_sizes),
    )


def mmaudio_vocoder(module: MMAudioVocoder, sampling_rate: int) -> NeuralVocoder:
    """Wrap the BigVGAN of MMAudio, whose configuration has no `sampling_rate`."""
    config = module.config
    return NeuralVocoder(
        module,
        lambda mel: module(mel.mT, return_dict=False)[0],
        mel_bins=config.num_mels,
        sampling_rate=sampling_rate,
        hop_length=math.prod(config.upsample_rates),
    )
