"""The language model that a prior of codes is: a new one of any type of transformers, or one to go on with."""

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

import torch
from accelerate.logging import get_logger
from transformers import (
    CONFIG_MAPPING,
    MODEL_FOR_CAUSAL_LM_MAPPING,
    AutoModelForCausalLM,
    PreTrainedConfig,
    PreTrainedModel,
)

from hf_audio_vae.tokens import CodeTokens, UpsamplingTokens, load_tokens
from hf_audio_vae.tokens.code_tokens import BOS, EOS, PAD
from hf_audio_vae.tokens.storage import holds_tokens

ANEW = "it goes with codes of another model, level or order. Train a new one."
CONTEXT = "max_position_embeddings"  # what transformers calls it, or by an alias

logger = get_logger(__name__)


def new_prior(model_type: str, options: Mapping[str, Any], vocab_size: int, length: int) -> PreTrainedModel:
    """Make a causal language model with random weights.

    Args:
        model_type (`str`): A name that transformers' `AutoConfig` knows.
        options (`Mapping`): Options of its configuration.
        vocab_size (`int`): Ids there are.
        length (`int`): Longest sequence it has to read; its context, if `options` does not say.

    Raises:
        ValueError: There is no such type, it is no causal language model, it has no such option, or its context is too
            short.
    """
    if model_type not in CONFIG_MAPPING:
        raise ValueError(f"`model_type` {model_type!r} is not known to transformers; it knows gpt2, llama, and more.")
    config_class = CONFIG_MAPPING[model_type]
    if config_class not in MODEL_FOR_CAUSAL_LM_MAPPING:
        raise ValueError(f"`model_type` {model_type!r} is no causal language model; take gpt2 or llama, say.")
    aliases = config_class.attribute_map
    known = {*vars(config_class()), *aliases}
    if unknown := sorted(set(options) - known):
        raise ValueError(f"a {model_type} takes no {', '.join(unknown)}; it takes {', '.join(sorted(known))}.")
    special: dict[str, Any] = {"vocab_size": vocab_size, "bos_token_id": BOS, "eos_token_id": EOS, "pad_token_id": PAD}
    if CONTEXT in known and not {CONTEXT, aliases.get(CONTEXT, CONTEXT)} & set(options):
        special[aliases.get(CONTEXT, CONTEXT)] = length
    if "is_decoder" in known and "is_decoder" not in options:
        special["is_decoder"] = True  # what encoders such as BERT need to look back only
    config = config_class(**special, **options)
    check_context(config, length)  # before there are weights
    return ready(AutoModelForCausalLM.from_config(config), length)


def pretrained_prior(
    name: str, tokens: CodeTokens | UpsamplingTokens, length: int, *, subfolder: str | None, revision: str | None
) -> PreTrainedModel:
    """Load a language model to go on with, in float32.

    Args:
        name (`str`): Folder or Hub id.
        tokens (`CodeTokens` or `UpsamplingTokens`): What it is to learn.
        length (`int`): Longest sequence it has to read.
        subfolder (`str`, *optional*): Where in it the model is.
        revision (`str`, *optional*): Version of a Hub model.

    Raises:
        ValueError: It has another vocabulary, was trained on other tokens, is not causal, or its context is too short.
        OSError: It cannot be reached.
    """
    if holds_tokens(name, revision=revision):
        before = load_tokens(name, revision=revision)[0]
        if type(before) is not type(tokens):
            raise ValueError(f"{name} writes {type(before).__name__}, the codes are {type(tokens).__name__}; {ANEW}")
        values = {f.name: (getattr(before, f.name), getattr(tokens, f.name)) for f in fields(tokens)}
        if differing := [f"`{field}` {a!r}, not {b!r}" for field, (a, b) in values.items() if a != b]:
            raise ValueError(f"{name} was trained with {', '.join(differing)}; {ANEW}")
    model = AutoModelForCausalLM.from_pretrained(name, subfolder=subfolder or "", revision=revision or "main")
    if model.config.vocab_size != tokens.vocab_size:
        raise ValueError(f"{name} has {model.config.vocab_size} ids, the codes {tokens.vocab_size}; {ANEW}")
    check_context(model.config, length)
    return ready(model.float(), length)


def check_context(config: PreTrainedConfig, length: int) -> None:
    """Raise `ValueError` where a model reads fewer tokens than a sequence has."""
    context = getattr(config, CONTEXT, length)
    if context < length:
        raise ValueError(
            f"the model reads {context} tokens, a crop has {length}; raise `{CONTEXT}`, or lower `segment_seconds`."
        )


def ready(model: PreTrainedModel, length: int) -> PreTrainedModel:
    """Let a model write by all it has learnt, as many tokens as it learns from; `ValueError` if it is not causal."""
    if not looks_back_only(model, min(length, 8)):
        raise ValueError(
            f"a {model.config.model_type} as configured looks at tokens that come later, and cannot write; take a "
            f"causal one, gpt2 or llama, say."
        )
    model.generation_config.update(do_sample=True, top_k=0, max_length=length)
    return model


@torch.no_grad()
def looks_back_only(model: PreTrainedModel, length: int) -> bool:
    """Whether a model foretells the same of the first tokens, whatever the last one is."""
    was_training = model.training
    model.eval()
    ids = torch.arange(length, device=model.device)[None] % model.config.vocab_size
    changed = ids.clone()
    changed[:, -1] = (ids[:, -1] + 1) % model.config.vocab_size
    first, second = (model(input_ids=each).logits[:, :-1].float() for each in (ids, changed))
    model.train(was_training)
    return bool(((first - second).abs() <= 1e-4 * first.abs().max()).all())
