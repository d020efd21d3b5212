"""Embeddings by networks of transformers, loaded by Hub id or folder. No remote code is run."""

from collections.abc import Iterator

import torch
from torch import Tensor
from transformers import (
    ClapFeatureExtractor,
    ClapModel,
    EncodecModel,
    HubertConfig,
    HubertModel,
    Wav2Vec2FeatureExtractor,
)

from hf_audio_vae.audio.resampling import convert_channels
from hf_audio_vae.files.loading import load_checked

CLAP_HOP_SECONDS = 1  # as fadtk
WINDOW_SECONDS = 10  # of networks with frames, which bounds memory
MERT_MIN_SAMPLES = 400  # of its convolutions, for one frame
MERT_ADDITIONS = ("feature_extractor_cqt", "deepnorm")  # of MERT, that HuBERT does not have
CLAP_UNUSED = r"position_ids$"  # buffers of older versions


class ClapEmbedding:
    """CLAP's embedding of windows of 10 s, one each second (Wu et al., 2023, arXiv:2211.06687).

    One normalised vector per window, of the mean of the channels; a clip below 10 s is repeated, as CLAP's feature
    extractor does. Its input has frequencies up to 14 kHz.

    Args:
        model (`str`): Hub id or folder of a `ClapModel` without fusion, such as "laion/larger_clap_music".
        device (`str` or `torch.device`): Where the network runs.

    Raises:
        ValueError: The model has fusion, whose input is random, or cannot be used.
        OSError: There is no such folder or repository, or it has no safetensors file.
    """

    def __init__(self, model: str, *, device: str | torch.device = "cpu") -> None:
        self.name = f"clap ({model})"
        self._model = load_checked(ClapModel, model, unused=CLAP_UNUSED).to(device)
        if self._model.config.audio_config.enable_fusion:
            raise ValueError(f"{model} fuses random crops; use a model without fusion as laion/larger_clap_music.")
        self._extractor = ClapFeatureExtractor.from_pretrained(model)
        self.sampling_rate = int(self._extractor.sampling_rate)

    @torch.no_grad()
    def __call__(self, waveform: Tensor) -> Tensor:
        """(audio_channels, time) -> (windows, dim)."""
        mono = convert_channels(waveform, 1)[0].float().cpu()
        length, hop = self._extractor.nb_max_samples, CLAP_HOP_SECONDS * self.sampling_rate
        embeddings = []
        for start in range(0, max(len(mono) - length, 0) + 1, hop):
            inputs = self._extractor(
                mono[start : start + length].numpy(),
                truncation="rand_trunc",  # filters of the models without fusion; nothing is truncated
                sampling_rate=self.sampling_rate,
                return_tensors="pt",
            )
            features = inputs["input_features"].to(self._model.device, self._model.dtype)
            embeddings.append(self._model.get_audio_features(features, inputs["is_longer"]).pooler_output)
        return torch.cat(embeddings).float().cpu()


class MertEmbedding:
    """Last hidden states of MERT (Li et al., 2024, arXiv:2306.00107), 75 frames per second.

    MERT-v1-95M is a HuBERT of music at 24 kHz, so it is read as transformers' `HubertModel`, without its remote code.
    Its weights have to be in a safetensors file. Windows of 10 s of the mean of the channels, each normalised.

    Args:
        model (`str`): Hub id or folder of a MERT or HuBERT, such as "m-a-p/MERT-v1-95M".
        device (`str` or `torch.device`): Where the network runs.

    Raises:
        ValueError: The model has layers that HuBERT does not have, or cannot be used.
        OSError: There is no such folder or repository, or it has no safetensors file.
    """

    def __init__(self, model: str, *, device: str | torch.device = "cpu") -> None:
        self.name = f"mert ({model})"
        values, _ = HubertConfig.get_config_dict(model)
        if additions := [name for name in MERT_ADDITIONS if values.get(name)]:
            raise ValueError(
                f"{model} has {' and '.join(additions)}, which only its remote code can run; use m-a-p/MERT-v1-95M."
            )
        known = HubertConfig().to_dict().keys() - {"model_type", "transformers_version", "architectures"}
        config = HubertConfig(**{name: value for name, value in values.items() if name in known})
        self._model = load_checked(HubertModel, model, config=config).to(device)
        self._extractor = Wav2Vec2FeatureExtractor.from_pretrained(model)
        self.sampling_rate = int(self._extractor.sampling_rate)

    @torch.no_grad()
    def __call__(self, waveform: Tensor) -> Tensor:
        """(audio_channels, time) -> (frames, dim)."""
        frames = []
        for window in _windows(convert_channels(waveform, 1), self.sampling_rate, MERT_MIN_SAMPLES):
            inputs = self._extractor(
                window[0].float().cpu().numpy(), sampling_rate=self.sampling_rate, return_tensors="pt"
            )
            values = inputs["input_values"].to(self._model.device, self._model.dtype)
            frames.append(self._model(values).last_hidden_state[0])
        return torch.cat(frames).float().cpu()


class EncodecEmbedding:
    """Latents of EnCodec's encoder before quantization (Défossez et al., 2022, arXiv:2210.13438), 75 per second.

    Windows of 10 s. Mono and stereo are converted to the channels of the model.

    Args:
        model (`str`): Hub id or folder of an `EncodecModel`, such as "facebook/encodec_24khz".
        device (`str` or `torch.device`): Where the network runs.

    Raises:
        ValueError: The model cannot be used.
        OSError: There is no such folder or repository, or it has no safetensors file.
    """

    def __init__(self, model: str, *, device: str | torch.device = "cpu") -> None:
        self.name = f"encodec ({model})"
        self._model = load_checked(EncodecModel, model).to(device)
        self.sampling_rate = int(self._model.config.sampling_rate)

    @torch.no_grad()
    def __call__(self, waveform: Tensor) -> Tensor:
        """(audio_channels, time) -> (frames, dim)."""
        frames = []
        for window in _windows(convert_channels(waveform, self._model.config.audio_channels), self.sampling_rate):
            values = window[None].to(self._model.device, self._model.dtype)
            if self._model.config.normalize:
                values = values / (values.mean(dim=1, keepdim=True).square().mean(dim=-1, keepdim=True).sqrt() + 1e-8)
            frames.append(self._model.encoder(values)[0].T)
        return torch.cat(frames).float().cpu()


def _windows(waveform: Tensor, sampling_rate: int, min_samples: int = 1) -> Iterator[Tensor]:
    """Yield windows of 10 s; a rest below `min_samples` is left out, and a shorter clip is padded with zeros."""
    waveform = torch.nn.functional.pad(waveform, (0, max(min_samples - waveform.shape[-1], 0)))
    for window in waveform.split(WINDOW_SECONDS * sampling_rate, dim=-1):
        if window.shape[-1] >= min_samples:
            yield window
