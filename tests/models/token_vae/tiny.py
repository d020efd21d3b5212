"""TokenVAEs that take milliseconds."""

from typing import Any

import torch

from hf_audio_vae import TokenVAE, TokenVAEConfig

LAYERS = {"hidden_size": 8, "num_hidden_layers": 2, "num_attention_heads": 2, "max_position_embeddings": 24}
SPECIAL = {"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}
DROPOUTS = ("attn_pdrop", "embd_pdrop", "resid_pdrop", "hidden_dropout_prob", "attention_probs_dropout_prob")
NO_DROPOUT = dict.fromkeys(DROPOUTS, 0.0)
ENCODERS = {
    "bert": {"intermediate_size": 16} | NO_DROPOUT,
    "modernbert": {"intermediate_size": 16, "global_attn_every_n_layers": 2, "local_attention": 4},
}
DECODERS = {
    "gpt2": NO_DROPOUT,
    "llama": {"intermediate_size": 16},
    "bert": {"intermediate_size": 16, "is_decoder": True} | NO_DROPOUT,
}


def tiny_config(
    encoder_type: str = "bert",
    decoder_type: str = "gpt2",
    *,
    vocab_size: int = 15,
    num_layers: int = 2,
    **changes: Any,
) -> TokenVAEConfig:
    shared = {"vocab_size": vocab_size, **LAYERS, "num_hidden_layers": num_layers, **SPECIAL}
    parts = {
        "encoder": {"model_type": encoder_type, **shared, **ENCODERS[encoder_type]},
        "decoder": {"model_type": decoder_type, **shared, **DECODERS[decoder_type]},
    }
    return TokenVAEConfig(**{"latent_channels": 4, "num_latents": 2} | parts | changes)


def tiny_token_vae(*parts: str, **changes: Any) -> TokenVAE:
    """Return a model whose latents matter: the projection is larger than at the start of training."""
    torch.manual_seed(0)
    model = TokenVAE(tiny_config(*parts, **changes)).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.3 * torch.randn(parameter.shape))
    return model
