"""Codes of transformers' codecs through a TokenVAE, and back to sound."""

from typing import Any

import pytest
import torch
from transformers import DacConfig, DacModel, EncodecConfig, EncodecModel, MimiConfig, MimiModel

from hf_audio_vae.tokens import CodeTokens
from hf_audio_vae.tokens.constraint import CodeConstraint
from tests.models.token_vae.tiny import tiny_token_vae

SIZE = 8


def dac() -> Any:
    sizes = {"encoder_hidden_size": 4, "decoder_hidden_size": 16, "hidden_size": 16, "downsampling_ratios": [2, 4]}
    return DacModel(DacConfig(**sizes, upsampling_ratios=[4, 2], n_codebooks=2, codebook_size=SIZE, codebook_dim=2))


def encodec() -> Any:
    sizes = {"num_filters": 2, "hidden_size": 8, "num_lstm_layers": 1, "upsampling_ratios": [4, 2], "codebook_dim": 8}
    return EncodecModel(EncodecConfig(**sizes, codebook_size=SIZE, target_bandwidths=[18.0], sampling_rate=24000))


def mimi() -> Any:
    sizes = {"num_filters": 2, "hidden_size": 8, "intermediate_size": 8, "num_hidden_layers": 1, "codebook_dim": 8}
    heads = {
        "num_attention_heads": 2,
        "num_key_value_heads": 2,
        "head_dim": 4,
        "vector_quantization_hidden_dimension": 8,
    }
    return MimiModel(
        MimiConfig(**sizes, **heads, codebook_size=SIZE, num_quantizers=2, upsampling_ratios=[4, 2], upsample_groups=1)
    )


@torch.no_grad()
@pytest.mark.parametrize("make", [dac, encodec, mimi], ids=lambda make: make.__name__)
def test_generated_codes_are_codes_of_the_codec(make: Any) -> None:
    torch.manual_seed(0)
    codec = make().eval()
    codes = codec.encode(torch.randn(1, 1, 96)).audio_codes
    codes = codes[0] if codes.ndim == 4 else codes  # EnCodec: (segments, batch, num_codebooks, frames)
    codes = codes[:, :2, :4]
    tokens = CodeTokens((SIZE, SIZE), "delayed")
    model = tiny_token_vae(vocab_size=tokens.vocab_size)
    latents = model.encode(tokens.encode(codes[0])[None]).latent_dist.mode()
    made = model.generate(
        latents=latents, do_sample=True, max_length=20, logits_processor=[CodeConstraint(tokens, num_frames=4)]
    )
    new = tokens.decode(made[0])[None]
    assert new.shape == codes.shape
    decoded = codec.decode(new[None], [None]) if make is encodec else codec.decode(audio_codes=new)
    assert decoded.audio_values.shape[-1] >= 4
    assert decoded.audio_values.isfinite().all()
