"""A TokenVAE from pretrained models of transformers."""

import re
from typing import Any

import torch
from transformers import (
    CONFIG_MAPPING,
    MODEL_MAPPING,
    AutoModel,
    AutoModelForCausalLM,
    PreTrainedConfig,
    PreTrainedModel,
)

from hf_audio_vae.files.loading import load_checked
from hf_audio_vae.files.pretrained import read_config
from hf_audio_vae.models.causality import reads_ahead
from hf_audio_vae.models.token_vae.configuration_token_vae import TokenVAEConfig
from hf_audio_vae.models.token_vae.modeling_token_vae import TokenVAE, without_pooler


def token_vae_from_pretrained(
    encoder_name_or_path: str, decoder_name_or_path: str, *, special_ids: dict[str, int] | None = None, **options: Any
) -> TokenVAE:
    """Make a TokenVAE of a pretrained encoder and a pretrained decoder; the layers between them are new.

    Args:
        encoder_name_or_path (`str`): Folder or Hub id of a bidirectional encoder, such as BERT.
        decoder_name_or_path (`str`): Folder or Hub id of a causal language model, or of an encoder to make causal.
        special_ids (`dict[str, int]`, *optional*): `pad_token_id`, `bos_token_id` and `eos_token_id` of the tokens; by
            default, those of the decoder.
        options: `vocab_size`, if the tokens are not those of the pretrained models, whose embeddings are then resized,
            and other fields of `TokenVAEConfig`.

    Returns:
        `TokenVAE` in evaluation mode, in float32.

    Raises:
        ValueError: See `load_checked`, `TokenVAEConfig` and `check_directions`.
        OSError: A model cannot be found.
    """
    vocab_size = options.pop("vocab_size", None)
    encoder, decoder = _load_encoder(encoder_name_or_path), _load_decoder(decoder_name_or_path)
    for part in (encoder, decoder):
        if vocab_size is not None and part.config.vocab_size != vocab_size:
            part.resize_token_embeddings(vocab_size, mean_resizing=False)
    decoder.config.update(special_ids or {})
    encoder.config.pad_token_id = decoder.config.pad_token_id
    model = TokenVAE(TokenVAEConfig(encoder=encoder.config, decoder=decoder.config, **options))
    model.encoder.load_state_dict(encoder.state_dict())
    model.decoder.load_state_dict(decoder.state_dict())
    return check_directions(model.eval())


def check_directions(model: TokenVAE) -> TokenVAE:
    """Return a model in evaluation mode; raise `ValueError` if it is not a VAE that generates.

    Its encoder has to be bidirectional, its decoder causal, and the decoder has to read the latents.
    """
    config = model.config
    length = min(8, config.max_tokens or 8)

    def encoded(ids: torch.Tensor) -> torch.Tensor:
        return model.encoder(input_ids=ids.to(model.device)).last_hidden_state

    def decoded(ids: torch.Tensor, scale: float = 0.0) -> torch.Tensor:
        shape = (1, config.latent_channels, config.num_latents)
        return model(ids.to(model.device), latents=torch.full(shape, scale, device=model.device)).logits

    if not reads_ahead(encoded, config.vocab_size, length):
        raise ValueError(
            f"the encoder, a {config.encoder.model_type}, does not read later tokens; use a bidirectional model such "
            f"as bert."
        )
    if reads_ahead(decoded, config.vocab_size, length):
        raise ValueError(
            f"the decoder, a {config.decoder.model_type} with this configuration, is not causal and cannot generate; "
            f"use for example gpt2 or llama."
        )
    with torch.no_grad():
        ids = torch.arange(length)[None] % config.vocab_size
        if torch.equal(decoded(ids), decoded(ids, 1.0)):
            raise ValueError(
                f"the decoder, a {config.decoder.model_type}, does not read the latents; use `conditioning` prefix."
            )
    return model


def _saved_config(name: str) -> PreTrainedConfig:
    values = read_config(name)[0]
    model_type = str(values.get("model_type"))
    if model_type not in CONFIG_MAPPING:
        raise ValueError(
            f"{name} has `model_type` {model_type!r}, which transformers does not know; name another model."
        )
    return CONFIG_MAPPING[model_type].from_dict(values)


def _load_encoder(name: str) -> PreTrainedModel:
    """Load an encoder without the heads and the pooling layer that its folder may have."""
    config = _saved_config(name)
    model_class: Any = MODEL_MAPPING.get(type(config), None)
    prefix = re.escape(getattr(model_class, "base_model_prefix", ""))
    heads = rf"^(?!{prefix}\.)|^{prefix}\.pooler\."
    options: dict[str, Any] = without_pooler(config)
    return load_checked(AutoModel, name, unused=heads, trust_remote_code=False, dtype=torch.float32, **options)


def _load_decoder(name: str) -> PreTrainedModel:
    """Load a causal language model; an encoder is made causal."""
    config = _saved_config(name)
    causal: dict[str, Any] = {"is_decoder": True} if hasattr(config, "is_decoder") else {}
    return load_checked(AutoModelForCausalLM, name, trust_remote_code=False, dtype=torch.float32, **causal)
