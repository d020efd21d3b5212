"""The music tagger musicnn (MTT_vgg) as an embedding. Its weights come with this package."""

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from hf_audio_vae.audio.resampling import convert_channels
from hf_audio_vae.audio.spectrogram import hann_window, mel_filters, stft
from hf_audio_vae.files.location import PRETRAINED

SAMPLING_RATE = 16000  # Hz
WINDOW_LENGTH, HOP_LENGTH, N_MELS = 512, 256, 96
PATCH_FRAMES = 187  # 3 s
CHANNELS, LAYERS = 128, 5
POOLING = (((4, 1), (2, 2)), *3 * (((2, 2), (2, 2)),), ((4, 4), (4, 4)))  # kernel and stride of each layer
BATCH = 8  # patches
WEIGHTS = PRETRAINED / "musicnn-mtt-vgg/model.safetensors"


class Affine(nn.Module):
    """Batch normalization with fixed statistics: a factor and an offset for each channel of (batch, channels, ...)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(channels, 1, 1))
        self.shift = nn.Parameter(torch.zeros(channels, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        """Scale and shift; same shape."""
        return x * self.scale + self.shift


class MusicnnVGG(nn.Module):
    """Five convolutions of a 3 x 3 kernel, each with ReLU, normalization and pooling.

    Pons & Serra, 2019 (arXiv:1909.06654), the baseline "vgg" of the package musicnn.
    """

    def __init__(self) -> None:
        super().__init__()
        self.input = Affine(1)
        widths = (1, *LAYERS * (CHANNELS,))
        self.convolutions = nn.ModuleList(
            nn.Conv2d(inputs, outputs, 3, padding=1) for inputs, outputs in zip(widths, widths[1:], strict=False)
        )
        self.norms = nn.ModuleList(Affine(CHANNELS) for _ in range(LAYERS))

    def forward(self, spectrograms: Tensor) -> Tensor:
        """(patches, 187 frames, 96 mels) -> (patches, 2 frames, 128 channels)."""
        x = self.input(spectrograms[:, None])  # (patches, channels, frames, mels)
        for convolution, norm, (kernel, stride) in zip(self.convolutions, self.norms, POOLING, strict=True):
            x = nn.functional.max_pool2d(norm(convolution(x).relu()), kernel, stride)
        return x[..., 0].transpose(1, 2)


class MusicnnEmbedding:
    """Last features of musicnn's MTT_vgg, a network that tags music (Pons & Serra, 2019, arXiv:1909.06654).

    128 dimensions, 2 frames for each 3 s of the mean of the channels at 16 kHz. A clip below 3 s is repeated; the
    rest of a longer one is left out. The input is that of musicnn, log10(1 + 10⁴ x) of 96 mel powers, in float32:
    musicnn rounds it to float16, in which loud sounds overflow.

    It ignores frequencies above 8 kHz, phase and stereo, and was trained on music only (MagnaTagATune).

    Args:
        device (`str` or `torch.device`): Where the network runs.

    Example:
        >>> MusicnnEmbedding()(torch.randn(1, 7 * 16000)).shape  # two patches of 3 s
        torch.Size([4, 128])
    """

    name = "musicnn"
    sampling_rate = SAMPLING_RATE

    def __init__(self, device: str | torch.device = "cpu") -> None:
        self._network = MusicnnVGG()
        self._network.load_state_dict(load_file(WEIGHTS))
        self._network.requires_grad_(False).to(device)
        self._device = torch.device(device)

    @torch.no_grad()
    def __call__(self, waveform: Tensor) -> Tensor:
        """(audio_channels, time) at 16 kHz -> (frames, 128)."""
        spectrogram = log_mel_spectrogram(convert_channels(waveform, 1)[0].float().to(self._device))
        if len(spectrogram) < PATCH_FRAMES:
            spectrogram = spectrogram.repeat(-(-PATCH_FRAMES // len(spectrogram)), 1)[:PATCH_FRAMES]
        patches = spectrogram.unfold(0, PATCH_FRAMES, PATCH_FRAMES).transpose(1, 2)  # (patches, frames, mels)
        return torch.cat([self._network(batch).flatten(0, 1) for batch in patches.split(BATCH)]).cpu()


def log_mel_spectrogram(waveform: Tensor) -> Tensor:
    """The input of musicnn: (time,) at 16 kHz -> (frames, 96)."""
    power = stft(waveform, hann_window(WINDOW_LENGTH, waveform.device), HOP_LENGTH).abs().square()
    filters = mel_filters(N_MELS, WINDOW_LENGTH, SAMPLING_RATE, device=waveform.device)
    return (1 + 10_000 * (filters @ power)).log10().T
