"""TokenVAEs to train: new ones, ones of pretrained parts, or pretrained ones."""

from collections.abc import Mapping
from typing import Any

from huggingface_hub.errors import StrictDataclassError

from hf_audio_vae.models import TokenVAE, TokenVAEConfig
from hf_audio_vae.models.contexts import CONTEXT, unused_positions
from hf_audio_vae.models.token_vae.warm_start import check_directions, token_vae_from_pretrained
from hf_audio_vae.tokens import CodeTokens
from hf_audio_vae.tokens.code_tokens import BOS, EOS, PAD
from hf_audio_vae.training.sections import options_of
from hf_audio_vae.training.token_prior.model import causal_config, load_language_model, transformer_config
from hf_audio_vae.training.token_vae.config import MODEL_TYPE, TokenVAETrainingConfig

SPECIAL = {"pad_token_id": PAD, "bos_token_id": BOS, "eos_token_id": EOS}


def build_token_vae(config: TokenVAETrainingConfig, tokens: CodeTokens, length: int) -> TokenVAE:
    """Return the model of a recipe in evaluation mode, for sequences of up to `length` tokens.

    Raises:
        ValueError: An option is unknown or refused; encoder, decoder or pretrained model do not fit; or its context is
            too short.
    """
    if config.pretrained_model_name_or_path is not None:
        name = config.pretrained_model_name_or_path
        loaded = load_language_model(
            name, tokens, subfolder=config.pretrained_subfolder, revision=config.pretrained_revision
        )
        if not isinstance(loaded, TokenVAE):
            raise ValueError(f"{name} is a {type(loaded).__name__}; name a TokenVAE.")
        return _prepared(loaded, length)
    with options_of("TokenVAE", config.model):
        if config.encoder_name_or_path is not None and config.decoder_name_or_path is not None:
            model = token_vae_from_pretrained(
                config.encoder_name_or_path,
                config.decoder_name_or_path,
                vocab_size=tokens.vocab_size,
                special_ids=SPECIAL,
                **config.model,
            )
            return _prepared(model, length)
        prefix = TokenVAEConfig(**config.model).prefix_length
    decoder_type, decoder_options = _split(config.decoder)
    decoder = causal_config(decoder_type, decoder_options, tokens.vocab_size, length + prefix)
    encoder_type, encoder_options = _split(config.encoder)
    values = {"vocab_size": tokens.vocab_size, "pad_token_id": PAD}
    positions = length + unused_positions(encoder_type, PAD)
    encoder = transformer_config(encoder_type, encoder_options, values, {CONTEXT: positions})
    try:
        model = TokenVAE(TokenVAEConfig(encoder=encoder, decoder=decoder, **config.model))
    except StrictDataclassError as error:
        raise ValueError(" ".join(str(error).split())) from error
    return _prepared(check_directions(model.eval()), length)


def _split(part: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    """Return the type of a part, and its options."""
    return part[MODEL_TYPE], {name: value for name, value in part.items() if name != MODEL_TYPE}


def _prepared(model: TokenVAE, length: int) -> TokenVAE:
    """Set generation to full sampling of up to `length` tokens; raise `ValueError` if they are too many."""
    longest = model.config.max_tokens
    if longest is not None and longest < length:
        raise ValueError(
            f"the model reads {longest} tokens, but a crop has {length}; increase `{CONTEXT}` of `encoder` and "
            f"`decoder`, or decrease `segment_seconds`."
        )
    model.generation_config.update(do_sample=True, top_k=0, max_length=length)
    return model
