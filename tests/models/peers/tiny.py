"""Published classes with tiny sizes and random weights."""

from collections.abc import Callable
from dataclasses import dataclass
from inspect import signature
from typing import Any

import diffusers
import pytest
import torch
import transformers
from torch import Tensor, nn

SCALES = ("weight_g", "original0")  # of weight norm
UNSCALED = ("weight_v", "original1", "alpha", "beta")


@dataclass(frozen=True)
class Tiny:
    """How to build a tiny model of a class, and what is known of it.

    Args:
        model_class: The class.
        arguments: Those of the class, or of its configuration.
        hop_length: Samples per frame.
        gain: Factor of the weights, so that the output is neither silent nor loud.
        refuses_chunks: What its refusal of chunks says; `None` if it is coded in chunks.
        without_gradient: Parameters that no gradient reaches, such as codebooks.
        vae: Of models with latents, what the original class computes.
    """

    model_class: Any
    arguments: dict[str, Any]
    hop_length: int
    gain: float = 1.0
    refuses_chunks: str | None = None
    without_gradient: tuple[str, ...] = ()
    vae: "VAEFacts | None" = None

    def new(self) -> Any:
        """Build the model, with weights that are neither zero nor silent."""
        config_class = getattr(self.model_class, "config_class", None)
        with torch.random.fork_rng():
            torch.manual_seed(0)
            if config_class is None:
                model = lively(self.model_class(**self.arguments), self.gain)
            else:
                model = lively(self.model_class(config_class(**self.arguments)), self.gain)
            self.prepare(model)
            return model


@dataclass(frozen=True)
class CodecFacts:
    """What a class with codes computes.

    Args:
        reference: From the original and a waveform (batch, channels, time) of one of its own lengths to its codes and
            its reconstruction.
        kept_frames: Lengths, in frames, that the original keeps.
        published: Arguments of the published model.
        rates: Sampling rate, hop length and codebook sizes of the published model.
    """

    reference: Callable[[Any, Tensor], tuple[Tensor, Tensor]]
    kept_frames: tuple[float, ...]
    published: dict[str, Any]
    rates: tuple[int, int, tuple[int, ...]]


@dataclass(frozen=True)
class VAEFacts:
    """What a class with latents computes.

    Args:
        reference: From the original and a waveform (batch, channels, time) of whole frames to the means and deviations
            of its latents (`None` if it has no posterior), and the waveform that it decodes the means to.
        published: Arguments of the published model that differ from the defaults.
        rates: Hop length and latent channels of the published model.
    """

    reference: Callable[[Any, Tensor], tuple[Tensor, Tensor | None, Tensor]]
    published: dict[str, Any]
    rates: tuple[int, int]


def lively(model: nn.Module, gain: float = 1.0) -> nn.Module:
    """Fill parameters that start at zero, and scale the others: a linear or silent network would hide faults.

    The layers of transformers are first drawn as torch draws them, since its own are small enough to be silent.
    """
    if isinstance(model, transformers.PreTrainedModel):
        for module in model.modules():
            if isinstance(module, nn.Conv1d | nn.ConvTranspose1d | nn.Linear):
                module.reset_parameters()
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            noise = torch.randn(parameter.shape, generator=generator)
            if parameter.abs().max() < 1e-3:
                fan_in = parameter[0].numel() if parameter.ndim > 1 else 1
                parameter.copy_(noise * (fan_in**-0.5 if parameter.ndim == 2 else 0.1))
            elif name.endswith(SCALES) or (parameter.ndim >= 2 and not name.endswith(UNSCALED)):
                parameter.mul_(gain)
    return model.eval()


def by_distribution(model: Any, x: Tensor) -> tuple[Tensor, Tensor | None, Tensor]:
    """Return what a class with a posterior computes; the `decode` of one class returns a tensor."""
    posterior = model.encode(x).latent_dist
    decoded = model.decode(posterior.mode())
    return posterior.mean, posterior.std, getattr(decoded, "sample", decoded)


def longcat_reference(model: Any, x: Tensor) -> tuple[Tensor, Tensor | None, Tensor]:
    """Return the latents, which are sampled unless it is told otherwise; it has no method for deviations."""
    latents = model.encode(x, sample_posterior=False).latents
    noise = torch.randn(latents.shape, generator=torch.Generator().manual_seed(0))
    sampled = model.encode(x, sample_posterior=True, generator=torch.Generator().manual_seed(0)).latents
    return latents, (sampled - latents) / noise, model.decode(latents).sample


def same_reference(model: Any, x: Tensor) -> tuple[Tensor, Tensor | None, Tensor]:
    latents = model.encode(x).latents
    return latents, None, model.decode(latents).sample


def by_frames(model: Any, x: Tensor) -> tuple[Tensor, Tensor | None, Tensor]:
    """Return what a class of transformers computes, with latents (batch, frames, channels)."""
    without_noise = {"sample": False} if "sample" in signature(model.encode).parameters else {}
    latents = model.encode(x, **without_noise).latents
    return latents.mT, None, next(iter(model.decode(latents).values()))


TINY = {
    "AutoencoderKLKVAEAudio": Tiny(
        diffusers.AutoencoderKLKVAEAudio,
        {
            "encoder_dim": 2,
            "encoder_rates": [2, 3, 4],
            "latent_dim": 16,
            "codebook_dim": 4,
            "decoder_dim": 64,
            "decoder_rates": [4, 3, 2],
            "sample_rate": 8000,
            "attn_num_heads": 2,
        },
        hop_length=24,
        vae=VAEFacts(by_distribution, {}, rates=(960, 64)),
        gain=1.4,
        refuses_chunks="attention of its encoder reads all frames",
    ),
    "AutoencoderKLMiniMaxH3Audio": Tiny(
        diffusers.AutoencoderKLMiniMaxH3Audio,
        {
            "encoder_dim": 2,
            "encoder_rates": (2, 4, 5),
            "latent_dim": 16,
            "latent_channels": 4,
            "num_attention_heads": 2,
            "decoder_dim": 32,
            "decoder_rates": (5, 2, 2, 2),
            "decoder_kernel_sizes": (9, 4, 4, 4),
            "resblock_kernel_sizes": (3,),
            "resblock_dilation_sizes": ((1, 3),),
            "sampling_rate": 8000,
            "latents_mean": [0.5, -1.0, 0.25, 0.0],
            "latents_std": [1.0, 2.0, 0.5, 4.0],
        },
        hop_length=40,
        vae=VAEFacts(by_distribution, {}, rates=(800, 32)),
        gain=1.2,
        refuses_chunks="attention of its encoder reads all earlier frames",
    ),
    "AutoencoderSAME": Tiny(
        diffusers.AutoencoderSAME,
        {
            "audio_channels": 2,
            "patch_size": 8,
            "encoder_channels": 8,
            "encoder_c_mults": (4,),
            "encoder_strides": (4,),
            "encoder_transformer_depths": (2,),
            "latent_dim": 8,
            "dim_heads": 8,
            "sampling_rate": 8000,
        },
        hop_length=32,
        vae=VAEFacts(same_reference, {}, rates=(4096, 256)),
    ),
    "Cosmos3AVAEAudioTokenizer": Tiny(
        diffusers.Cosmos3AVAEAudioTokenizer,
        {
            "sampling_rate": 8000,
            "vocoder_input_dim": 4,
            "dec_dim": 4,
            "dec_c_mults": (1, 2, 4),
            "dec_strides": (2, 4, 5),
            "enc_dim": 8,
            "enc_num_blocks": 1,
            "enc_n_fft": 16,
            "enc_hop_length": 4,
            "enc_latent_dim": 8,
            "enc_c_mults": (1, 2),
            "enc_strides": (2, 5),
        },
        hop_length=40,
        vae=VAEFacts(by_distribution, {}, rates=(1920, 64)),
        gain=1.1,
    ),
    "LongCatAudioDiTVae": Tiny(
        diffusers.LongCatAudioDiTVae,
        {
            "in_channels": 1,
            "channels": 8,
            "latent_dim": 4,
            "encoder_latent_dim": 8,
            "c_mults": [1, 2, 2],
            "strides": [2, 4, 4],
            "downsampling_ratio": 32,
            "sample_rate": 8000,
        },
        hop_length=32,
        vae=VAEFacts(longcat_reference, {"strides": [2, 4, 4, 8, 8]}, rates=(2048, 64)),
        gain=0.8,
    ),
    "PocketTTSAudioTokenizerModel": Tiny(
        transformers.PocketTTSAudioTokenizerModel,
        {
            "sampling_rate": 8000,
            "num_filters": 4,
            "hidden_size": 32,
            "upsampling_ratios": [3, 2],
            "upsample_groups": 32,
            "latent_dim": 8,
            "latent_stride": 4,
            "intermediate_size": 64,
            "num_attention_heads": 2,
            "num_key_value_heads": 2,
            "sliding_window": 8,
            "layer_scale_initial_scale": 0.5,
        },
        hop_length=24,
        gain=1.5,
        vae=VAEFacts(by_frames, {}, rates=(1920, 32)),
    ),
    "VibeVoiceAcousticTokenizerModel": Tiny(
        transformers.VibeVoiceAcousticTokenizerModel,
        {
            "num_filters": 4,
            "hidden_size": 8,
            "downsampling_ratios": (2, 4, 5),
            "depths": (1, 1, 1, 2),
            "layer_scale_init_value": 0.3,
        },
        hop_length=40,
        vae=VAEFacts(by_frames, {}, rates=(3200, 64)),
        gain=1.5,
    ),
}


# Models with codes.


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


TINY["MimiModel"] = Tiny(
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


def redraw(original: nn.Module) -> None:
    """Draw weights anew as torch does: those of some classes are so small that their output vanishes."""
    for module in original.modules():
        if isinstance(module, nn.Conv1d | nn.ConvTranspose1d | nn.Linear) and not hasattr(module, "parametrizations"):
            module.reset_parameters()


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


TINY["XcodecModel"] = Tiny(
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
TINY["HiggsAudioV2TokenizerModel"] = Tiny(
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
TINY["Xcodec2Model"] = Tiny(
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
TINY["NeuCodecModel"] = Tiny(
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


def buildable(names: Any) -> list[Any]:
    """Names as parameters of tests, which are skipped where a library is missing."""
    names = sorted(names)
    libraries = {name: TINY[name].needs for name in names if name in TINY}
    return [
        pytest.param(name, marks=pytest.mark.skipif(not find_spec(library), reason=f"{library} is not installed"))
        if (library := libraries.get(name))
        else name
        for name in names
    ]
