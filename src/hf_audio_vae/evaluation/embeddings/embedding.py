"""The interface of embeddings, and their names."""

from collections.abc import Callable
from typing import Protocol

import torch
from torch import Tensor

from hf_audio_vae.audio.resampling import resample
from hf_audio_vae.evaluation.embeddings.log_mel import LogMelEmbedding
from hf_audio_vae.evaluation.embeddings.musicnn import MusicnnEmbedding

EMBEDDINGS = {  # with a definition in one line
    "log_mel": "mean and std of 64 mel levels in segments of 0.5 s, at the clip's own rate; no network",
    "musicnn": "features of the music tagger musicnn (MTT_vgg), 2 per 3 s at 16 kHz; comes with this package",
    "clap": "CLAP's embedding of 10 s, each second, at 48 kHz; from the Hub",
    "mert": "MERT's last hidden states, 75 per second at 24 kHz; from the Hub",
    "encodec": "EnCodec's latents before quantization, 75 per second at 24 kHz; from the Hub",
}
HUB_MODELS = {  # default models
    "clap": "laion/larger_clap_music",
    "mert": "m-a-p/MERT-v1-95M",
    "encodec": "facebook/encodec_24khz",
}


class Embedding(Protocol):
    """A function of a clip that returns vectors, which similar sounds have near each other."""

    @property
    def name(self) -> str:
        """Name in tables, with the model if there is a choice."""

    @property
    def sampling_rate(self) -> int:
        """Sampling rate in Hz of the waveforms that it reads. Frequencies above half of it are ignored."""

    def __call__(self, waveform: Tensor) -> Tensor:
        """Embed a clip.

        Args:
            waveform (`torch.Tensor` of shape `(audio_channels, time)`): At `sampling_rate`, any time >= 1.

        Returns:
            float32 `torch.Tensor` of shape `(frames, dim)`, on the CPU; at least one frame.
        """


def embed(embedding: Embedding, waveform: Tensor, sampling_rate: int) -> Tensor:
    """Resample a clip to the rate of an embedding, and embed it.

    Args:
        embedding (`Embedding`): See `embedding_of`.
        waveform (`torch.Tensor` of shape `(audio_channels, time)`): Clip.
        sampling_rate (`int`): Its rate in Hz.

    Returns:
        float32 `torch.Tensor` of shape `(frames, dim)`.

    Raises:
        ValueError: The clip is empty or has another rank.

    Example:
        >>> embed(embedding_of("log_mel", sampling_rate=16000), torch.randn(2, 44100), 44100).shape
        torch.Size([2, 128])
    """
    if waveform.ndim != 2 or not waveform.numel():
        raise ValueError(f"the clip has shape {tuple(waveform.shape)}; give (audio_channels, time) with samples.")
    return embedding(resample(waveform, sampling_rate, embedding.sampling_rate))


def embedding_of(
    name: str, *, sampling_rate: int | None = None, model: str | None = None, device: str | torch.device = "cpu"
) -> Embedding:
    """Return the embedding of a name.

    Args:
        name (`str`): One of `EMBEDDINGS`.
        sampling_rate (`int`, *optional*): Rate of the clips in Hz, for "log_mel", which has no rate of its own.
        model (`str`, *optional*): Hub id or folder of another network of the same class, for those of `HUB_MODELS`.
        device (`str` or `torch.device`): Where a network runs.

    Raises:
        ValueError: There is no such embedding, `sampling_rate` is missing, `model` has no effect, or the model cannot
            be used.
        OSError: There is no such folder or repository, or it has no safetensors file.
    """
    if name not in EMBEDDINGS:
        raise ValueError(f"there is no embedding {name!r}; choose from {', '.join(EMBEDDINGS)}.")
    if model is not None and name not in HUB_MODELS:
        raise ValueError(f"`model` {model!r} has no effect on the embedding {name!r}; leave it out.")
    if name == "log_mel":
        if sampling_rate is None:
            raise ValueError("the embedding 'log_mel' needs the `sampling_rate` of the clips.")
        return LogMelEmbedding(sampling_rate)
    if name == "musicnn":
        return MusicnnEmbedding(device=device)
    from hf_audio_vae.evaluation.embeddings import hub  # lazy: it imports large parts of transformers

    classes: dict[str, Callable[..., Embedding]] = {
        "clap": hub.ClapEmbedding,
        "mert": hub.MertEmbedding,
        "encodec": hub.EncodecEmbedding,
    }
    return classes[name](model or HUB_MODELS[name], device=device)
