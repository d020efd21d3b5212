"""Causal language models of codes: new ones of any transformers type, or pretrained ones."""

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from accelerate.logging import get_logger
from transformers import (
    CONFIG_MAPPING,
    MODEL_FOR_CAUSAL_LM_MAPPING,
    AutoModelForCausalLM,
    PreTrainedConfig,
    PreTrainedModel,
)

from hf_audio_vae.files.fingerprints import fingerprint_differences
from hf_audio_vae.files.loading import load_checked
from hf_audio_vae.models.causality import reads_ahead
from hf_audio_vae.models.contexts import CONTEXT, context_length, unused_positions
from hf_audio_vae.tokens import CodeTokens, UpsamplingTokens, load_tokens
from hf_audio_vae.tokens.code_tokens import BOS, EOS, PAD
from hf_audio_vae.tokens.storage import holds_tokens
from hf_audio_vae.training.sections import options_of

MISMATCH = "it belongs to codes of another model, level or order. Train a new one."

logger = get_logger(__name__)


def new_prior(model_type: str, options: Mapping[str, Any], vocab_size: int, length: int) -> PreTrainedModel:
    """Create a causal language model with random weights.

    Args:
        model_type (`str`): A name that transformers' `AutoConfig` knows.
        options (`Mapping`): Options of its configuration.
        vocab_size (`int`): Number of token ids.
        length (`int`): Maximum sequence length; the context length unless `options` sets it.

    Raises:
        ValueError: The type does not exist or is no causal language model, an option does not exist or is refused, or
            the context is too short.
    """
    config = causal_config(model_type, options, vocab_size, length)
    check_context(config, length)  # before weights are allocated
    with options_of(model_type, options):
        model = AutoModelForCausalLM.from_config(config)
    return prepare_for_generation(model, length)


def causal_config(model_type: str, options: Mapping[str, Any], vocab_size: int, length: int) -> PreTrainedConfig:
    """Make the configuration of a causal language model with the special ids of codes; raises as `new_prior`."""
    if model_type in CONFIG_MAPPING and CONFIG_MAPPING[model_type] not in MODEL_FOR_CAUSAL_LM_MAPPING:
        raise ValueError(f"`model_type` {model_type!r} is not a causal language model; use for example gpt2 or llama.")
    special = {"vocab_size": vocab_size, "bos_token_id": BOS, "eos_token_id": EOS, "pad_token_id": PAD}
    causal = {"is_decoder": True}  # makes encoders such as BERT causal
    positions = length + unused_positions(model_type, PAD)
    return transformer_config(model_type, options, special, causal | {CONTEXT: positions})


def transformer_config(
    model_type: str, options: Mapping[str, Any], values: Mapping[str, Any], defaults: Mapping[str, Any]
) -> PreTrainedConfig:
    """Make a configuration of a type of transformers.

    Args:
        model_type (`str`): A name that transformers' `AutoConfig` knows.
        options (`Mapping`): Options of the configuration.
        values (`Mapping`): Values that no option may change.
        defaults (`Mapping`): Values that apply if the type has such an option and `options` does not set it.

    Raises:
        ValueError: The type or an option does not exist, or a value is refused.
    """
    if model_type not in CONFIG_MAPPING:
        raise ValueError(f"`model_type` {model_type!r} is unknown to transformers; use for example gpt2 or llama.")
    config_class = CONFIG_MAPPING[model_type]
    aliases = config_class.attribute_map
    known = {*vars(config_class()), *aliases}
    if unknown := sorted(set(options) - known):
        raise ValueError(f"{model_type} has no option {', '.join(unknown)}; use {', '.join(sorted(known))}.")
    used = {
        aliases.get(name, name): value
        for name, value in defaults.items()
        if name in known and not {name, aliases.get(name, name)} & set(options)
    }
    with options_of(model_type, options):
        return config_class(**values, **used, **options)


def pretrained_prior(
    name: str, tokens: CodeTokens | UpsamplingTokens, length: int, *, subfolder: str | None, revision: str | None
) -> PreTrainedModel:
    """Load a pretrained language model in float32.

    Args:
        name (`str`): Folder or Hub id.
        tokens (`CodeTokens` or `UpsamplingTokens`): Tokens of the training data.
        length (`int`): Maximum sequence length.
        subfolder (`str`, *optional*): Subfolder of the model.
        revision (`str`, *optional*): Version of a Hub model.

    Raises:
        ValueError: The model has another vocabulary, other tokens or too short a context, is not causal, or
            see `load_checked`.
        OSError: The model cannot be found or downloaded.
    """
    model = load_language_model(name, tokens, subfolder=subfolder, revision=revision)
    check_context(model.config, length)
    return prepare_for_generation(model, length)


def warn_of_other_codes(name: str, revision: str | None, weights: str) -> None:
    """Warn if a pretrained language model was trained on codes of a model with another fingerprint."""
    if holds_tokens(name, revision=revision):
        recorded = load_tokens(name, revision=revision)[1].weights
        if recorded and weights and (parts := fingerprint_differences(recorded, weights)):
            logger.warning(
                f"{name} was trained on codes of a model with other {' and '.join(parts)}: the codes mean other "
                f"sounds, which it has to learn anew"
            )


def load_language_model(
    name: str, tokens: CodeTokens | UpsamplingTokens, *, subfolder: str | None, revision: str | None
) -> PreTrainedModel:
    """Load a model of these tokens in float32; raises as `pretrained_prior`, except for context and causality."""
    if holds_tokens(name, revision=revision):
        before = load_tokens(name, revision=revision)[0]
        if type(before) is not type(tokens):
            raise ValueError(
                f"{name} generates {type(before).__name__}, but the codes are {type(tokens).__name__}; {MISMATCH}"
            )
        values = {f.name: (getattr(before, f.name), getattr(tokens, f.name)) for f in fields(tokens)}
        if differing := [f"`{field}` {a!r}, not {b!r}" for field, (a, b) in values.items() if a != b]:
            raise ValueError(f"{name} was trained with {', '.join(differing)}; {MISMATCH}")
    model = load_checked(
        AutoModelForCausalLM,
        name,
        subfolder=subfolder or "",
        revision=revision or "main",
        trust_remote_code=False,
    )
    if model.config.vocab_size != tokens.vocab_size:
        raise ValueError(
            f"{name} has {model.config.vocab_size} ids, but the codes need {tokens.vocab_size}; {MISMATCH}"
        )
    return model.float()


def check_context(config: PreTrainedConfig, length: int) -> None:
    """Raise `ValueError` if a model's context is shorter than a sequence."""
    context = context_length(config)
    if context is not None and context < length:
        raise ValueError(
            f"the context of the model is {context} tokens, but a crop has {length}; increase `{CONTEXT}`, or "
            f"decrease `segment_seconds`."
        )


def prepare_for_generation(model: PreTrainedModel, length: int) -> PreTrainedModel:
    """Set generation to full sampling of up to `length` tokens; raise `ValueError` if the model is not causal."""
    if not is_causal(model, min(length, 8)):
        raise ValueError(
            f"a {model.config.model_type} with this configuration is not causal and cannot generate; use for example "
            f"gpt2 or llama."
        )
    model.generation_config.update(do_sample=True, top_k=0, max_length=length)
    return model


def is_causal(model: PreTrainedModel, length: int) -> bool:
    """Whether changing the last token does not change the predictions before it."""
    was_training = model.training
    model.eval()
    ahead = reads_ahead(lambda ids: model(input_ids=ids.to(model.device)).logits, model.config.vocab_size, length)
    model.train(was_training)
    return not ahead
