"""Published classes with codes, with tiny sizes and random weights."""

from collections.abc import Callable
from functools import partial
from importlib.util import find_spec
from typing import Any

import torch
import torch.nn.functional as F
import transformers
from torch import Tensor

from hf_audio_vae.audio.sinc_resampling import sinc_resample
from hf_audio_vae.models.peers.xcodec2 import semantic_features
from tests.models.peers.tiny_models import CodecFacts, Tiny, redraw


@torch.no_grad()
def fill_codebooks(layers: Any, residual: Tensor, books: str) -> None:
    """Fill residual codebooks with values around the residuals: those of new models are zero."""
    for layer in layers:
        values = layer.project_in(residual.mT).mT if hasattr(layer, "project_in") else residual
        values = values.mT.flatten(0, 1)
        book = getattr(layer.codebook, books)
        chosen = values[torch.randint(len(values), (len(book),))]
        book.copy_(chosen + 0.3 * values.std(dim=0) * torch.randn_like(book))
        residual = residual - layer.decode(layer.encode(residual))


@torch.no_grad()
def prepare_mimi(original: Any) -> None:
    x = 0.3 * torch.randn(2, original.config.audio_channels, 30 * original.config.frame_size)
    latents, quantizer = original.encoder(x).latents, original.quantizer
    for part in (quantizer.semantic_residual_vector_quantizer, quantizer.acoustic_residual_vector_quantizer):
        fill_codebooks(part.layers, part.input_proj(latents), "embed_sum")
    for layer in quantizer.modules():
        if hasattr(layer, "_embed"):
            layer._embed = None


def mimi_reference(original: Any, x: Tensor) -> tuple[Tensor, Tensor]:
    output = original(x)
    return output.audio_codes, output.audio_values


CODECS: dict[str, Tiny] = {}
CODECS["MimiModel"] = Tiny(
    transformers.MimiModel,
    {
        "num_filters": 2,
        "hidden_size": 32,
        "upsampling_ratios": [4, 2, 2, 2],
        "sampling_rate": 1600,
        "codebook_size": 32,
        "codebook_dim": 16,
        "vector_quantization_hidden_dimension": 16,
        "num_quantizers": 4,
        "upsample_groups": 32,
        "num_hidden_layers": 2,
        "intermediate_size": 64,
        "num_attention_heads": 2,
        "num_key_value_heads": 2,
        "sliding_window": 8,
        "layer_scale_initial_scale": 0.5,
    },
    hop_length=64,
    prepare=prepare_mimi,
    codec=CodecFacts(mimi_reference, kept_frames=(1, 2, 7), published={}, rates=(24000, 1920, (2048,) * 32)),
)


HUBERT = {
    "model_type": "hubert",
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 64,
    "conv_dim": [8] * 7,
    "num_conv_pos_embeddings": 16,
    "num_conv_pos_embedding_groups": 2,
}


def acoustic(*ratios: int) -> dict[str, Any]:
    sizes = {"encoder_hidden_size": 4, "decoder_hidden_size": 32, "hidden_size": 16}
    return {"model_type": "dac", **sizes, "downsampling_ratios": [*ratios], "upsampling_ratios": [*ratios]}


@torch.no_grad()
def prepare_xcodec(original: Any) -> None:
    redraw(original)
    x = 0.3 * torch.randn(2, 1, 40 * original.config.hop_length)
    semantic = original.encoder_semantic(original._extract_semantic_features(x).mT)
    latents = original.fc(torch.cat([original.acoustic_encoder(x), semantic], dim=1).mT).mT
    fill_codebooks(original.quantizer.quantizers, latents, "embed")


def xcodec_reference(original: Any, x: Tensor) -> tuple[Tensor, Tensor]:
    output = original(x)
    return output.audio_codes, output.audio_values


CODECS["XcodecModel"] = Tiny(
    transformers.XcodecModel,
    {
        "codebook_size": 32,
        "target_bandwidths": [0.25, 0.5, 1.0],
        "acoustic_model_config": acoustic(8, 5, 4, 2),
        "semantic_model_config": HUBERT,
    },
    hop_length=320,
    refuses_chunks="model of speech",
    without_gradient=("semantic_model.", "decoder_semantic.", "fc1."),
    prepare=prepare_xcodec,
    codec=CodecFacts(xcodec_reference, kept_frames=(1, 2, 7), published={}, rates=(16000, 320, (1024,) * 8)),
)
CODECS["HiggsAudioV2TokenizerModel"] = Tiny(
    transformers.HiggsAudioV2TokenizerModel if find_spec("torchaudio") else None,
    {
        "codebook_size": 32,
        "codebook_dim": 8,
        "target_bandwidths": [0.125, 0.25, 0.5],
        "acoustic_model_config": acoustic(8, 5, 4, 2, 3),
        "semantic_model_config": {**HUBERT, "mask_time_prob": 0.0},
    },
    hop_length=960,
    refuses_chunks="model of speech",
    without_gradient=("semantic_model.", "decoder_semantic.", "fc1."),
    prepare=prepare_xcodec,
    codec=CodecFacts(
        xcodec_reference,
        kept_frames=(1, 2, 7),
        published={
            "target_bandwidths": [0.5, 1, 1.5, 2],
            "acoustic_model_config": {"downsampling_ratios": [8, 5, 4, 2, 3], "upsampling_ratios": [8, 5, 4, 2, 3]},
        },
        rates=(24000, 960, (1024,) * 8),
    ),
    needs="torchaudio",
)


def prepare_xcodec2(original: Any) -> None:
    redraw(original)
    original.quantizer.project_in.weight.data.mul_(8.0)


def extracted(original: Any, x: Tensor) -> dict[str, Tensor]:
    """What the original's feature extractor returns; it needs torchaudio."""
    kind = type(original).__name__.removesuffix("Model")
    extractor = getattr(transformers, f"{kind}FeatureExtractor")()
    return extractor([item[0].numpy() for item in x], sampling_rate=16000, return_tensors="pt")


def xcodec2_inputs(original: Any, x: Tensor) -> dict[str, Tensor]:
    if find_spec("torchaudio"):
        return extracted(original, x)
    padded = F.pad(x, (0, -x.shape[-1] % 320))
    features = semantic_features(F.pad(padded[:, 0], (160, 160)))
    return {"input_values": padded, "input_features": features, "input_features_mask": torch.ones(features.shape[:2])}


def neucodec_inputs(original: Any, x: Tensor) -> dict[str, Tensor]:
    resampled = sinc_resample(x, 24000, 16000)
    if find_spec("torchaudio"):
        return extracted(original, resampled)
    padded = F.pad(resampled, (0, 320))
    features = semantic_features(padded[:, 0])
    return {"input_values": padded, "input_features": features, "input_features_mask": torch.ones(features.shape[:2])}


def xcodec2_reference(inputs: Callable[[Any, Tensor], Any], original: Any, x: Tensor) -> tuple[Tensor, Tensor]:
    output = original(**inputs(original, x))
    return output.audio_codes, output.audio_values


XCODEC2 = {
    "hidden_size": 64,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 4,
    "head_dim": 16,
    "encoder_hidden_size": 2,
    "quantization_dim": 96,
    "quantization_levels": [4, 4, 4, 4],
    "semantic_model_config": {
        "model_type": "wav2vec2-bert",
        "hidden_size": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "intermediate_size": 64,
        "feature_projection_input_dim": 160,
        "conv_depthwise_kernel_size": 5,
    },
}
CODECS["Xcodec2Model"] = Tiny(
    transformers.Xcodec2Model,
    XCODEC2,
    hop_length=320,
    refuses_chunks="model of speech",
    without_gradient=("semantic_encoder.",),
    prepare=prepare_xcodec2,
    codec=CodecFacts(
        partial(xcodec2_reference, xcodec2_inputs),
        kept_frames=(0.5, 1.5, 6.5),
        published={},
        rates=(16000, 320, (65536,)),
    ),
)
CODECS["NeuCodecModel"] = Tiny(
    transformers.NeuCodecModel,
    XCODEC2,
    hop_length=480,
    refuses_chunks="model of speech",
    without_gradient=("semantic_encoder.",),
    prepare=prepare_xcodec2,
    codec=CodecFacts(
        partial(xcodec2_reference, neucodec_inputs), kept_frames=(1, 2, 7), published={}, rates=(24000, 480, (65536,))
    ),
)
