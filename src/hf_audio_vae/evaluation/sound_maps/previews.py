"""The start of a sound, compressed for a page."""

import io

import soundfile
import torch
from torch import Tensor

from hf_audio_vae.audio import convert_channels, resample
from hf_audio_vae.evaluation.lossy import MP3_CHANNELS, MP3_SAMPLING_RATES

LEVEL = 0.5  # of libsndfile, 0 to 1: LAME's V5, about 30 kbit/s of a channel at 24 kHz
FADE_SECONDS = 0.01  # at a cut


def mp3_preview(waveform: Tensor, sampling_rate: int, seconds: float) -> bytes:
    """Code the start of a waveform as MP3, which every browser plays.

    The rate becomes the next one that MP3 has, or its highest. More than two channels are mixed to one. A cut is faded
    out.

    Args:
        waveform (`torch.Tensor` of shape `(audio_channels, time)`): Signal, any time >= 1; values beyond [-1, 1] are
            clipped.
        sampling_rate (`int`): Sampling rate in Hz.
        seconds (`float`): Maximum length, above 0.

    Raises:
        ValueError: There are no samples, or less than one sample is left.
    """
    kept = min(waveform.shape[-1], round(seconds * sampling_rate))
    if kept < 1:
        raise ValueError(f"{seconds} s of {waveform.shape[-1]} samples at {sampling_rate} Hz are no sound.")
    start = waveform[:, :kept].detach().float().cpu()
    if len(start) > MP3_CHANNELS:
        start = convert_channels(start, 1)
    if kept < waveform.shape[-1]:
        fade = min(kept, round(FADE_SECONDS * sampling_rate))
        start = torch.cat([start[:, : kept - fade], start[:, kept - fade :] * torch.linspace(1, 0, fade)], dim=1)
    rate = next((rate for rate in MP3_SAMPLING_RATES if rate >= sampling_rate), MP3_SAMPLING_RATES[-1])
    samples = resample(start, sampling_rate, rate).clamp(-1, 1)
    file = io.BytesIO()
    soundfile.write(
        file,
        samples.T.numpy(),
        rate,
        format="MP3",
        subtype="MPEG_LAYER_III",
        compression_level=LEVEL,
        bitrate_mode="VARIABLE",
    )
    return file.getvalue()
