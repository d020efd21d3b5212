"""Published classes with latents, with tiny sizes and random weights."""

from inspect import signature
from typing import Any

import diffusers
import torch
import transformers
from torch import Tensor

from tests.models.peers.tiny_models import Tiny, VAEFacts


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


VAES = {
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
        redrawn=True,
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
        redrawn=True,
        vae=VAEFacts(by_frames, {}, rates=(3200, 64)),
        gain=1.5,
    ),
}
