"""Filter bank energies as Kaldi computes them (Povey et al., 2011), which models of speech read."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

FRAME_LENGTH, FRAME_SHIFT, FFT_LENGTH = 400, 160, 512  # 25 ms and 10 ms at 16 kHz
SAMPLING_RATE = 16000  # Hz
NUM_MELS, MIN_FREQUENCY_HZ = 80, 20.0
PREEMPHASIS = 0.97
FULL_SCALE = 2**15  # Kaldi's samples are 16-bit integers


def kaldi_filter_bank(waveform: Tensor) -> Tensor:
    """Logarithmic energies of 80 triangular mel filters, without dither.

    Args:
        waveform (`torch.Tensor` of shape `(..., time)`): Samples in [-1, 1] at 16 kHz, at least 400.

    Returns:
        `torch.Tensor` of shape `(..., frames, 80)`, float32, with a frame for each 160 samples that 400 follow.
    """
    frames = (FULL_SCALE * waveform.float()).unfold(-1, FRAME_LENGTH, FRAME_SHIFT)
    frames = frames - frames.mean(dim=-1, keepdim=True)
    earlier = torch.cat([frames[..., :1], frames[..., :-1]], dim=-1)
    window = torch.hann_window(FRAME_LENGTH, periodic=False, device=waveform.device).pow(0.85)
    windowed = (frames - PREEMPHASIS * earlier) * window
    power = torch.fft.rfft(F.pad(windowed, (0, FFT_LENGTH - FRAME_LENGTH))).abs().pow(2.0)
    energies = power @ mel_filters(waveform.device).T
    return energies.clamp_min(torch.finfo(torch.float32).eps).log()


def mel_filters(device: torch.device) -> Tensor:
    """Triangles that are linear in mel, over the bins of a transform; (80, 257)."""
    lowest, highest = (1127 * math.log(1 + hz / 700) for hz in (MIN_FREQUENCY_HZ, SAMPLING_RATE / 2))
    # In float32 and in this order: the sides of the first triangles are rounded to 1e-5.
    corners = lowest + (highest - lowest) / (NUM_MELS + 1) * torch.arange(NUM_MELS + 2, device=device)[:, None]
    left, centre, right = corners[:-2], corners[1:-1], corners[2:]
    bins = 1127 * (1 + SAMPLING_RATE / FFT_LENGTH * torch.arange(FFT_LENGTH // 2, device=device) / 700).log()
    triangles = torch.minimum((bins - left) / (centre - left), (right - bins) / (right - centre))
    return F.pad(triangles.clamp_min(0), (0, 1))  # none reaches the last bin
