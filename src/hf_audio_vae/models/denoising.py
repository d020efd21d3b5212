"""Calls of denoisers of diffusers and text encoders of transformers, shared by training and pipelines."""

from collections.abc import Sequence
from typing import TYPE_CHECKING
from weakref import WeakSet

import torch
from diffusers import StableAudioDiTModel
from diffusers.models.embeddings import get_1d_rotary_pos_embed
from diffusers.utils import logging
from torch import Tensor, nn

from hf_audio_vae.models.latent_conditioner.modeling_latent_conditioner import LatentConditionerOutput

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

MAX_PROMPT_TOKENS = 128

logger = logging.get_logger(__name__)

_WARNED: WeakSet["PreTrainedTokenizerBase"] = WeakSet()  # tokenizers that a warning names a text of


def denoise(
    transformer: StableAudioDiTModel,
    latents: Tensor,
    times: Tensor,
    condition: LatentConditionerOutput,
    mask: Tensor | None = None,
) -> Tensor:
    """Run the denoiser.

    Args:
        transformer (`StableAudioDiTModel`): Denoiser.
        latents (`torch.Tensor` of shape `(batch, latent_channels, frames)`): Noisy latents.
        times (`torch.Tensor` of shape `(batch,)`): Noise levels, from 0 to 1.
        condition (`LatentConditionerOutput`): Conditions of the batch.
        mask (`torch.Tensor` of shape `(batch, frames)`, *optional*): Bool, True for valid frames; others are masked.

    Returns:
        `torch.Tensor` of shape `(batch, latent_channels, frames)`: The prediction.
    """
    positions = torch.arange(latents.shape[-1] + 1, device=latents.device)  # one more for the global token
    rotary_width = transformer.config.attention_head_dim // 2
    rotary = get_1d_rotary_pos_embed(rotary_width, positions, use_real=True, repeat_interleave_real=False)
    return transformer(
        latents,
        times,
        encoder_hidden_states=condition.encoder_hidden_states,
        encoder_attention_mask=condition.encoder_attention_mask,
        global_hidden_states=condition.global_hidden_states,
        rotary_embedding=rotary,
        attention_mask=mask,
        return_dict=False,
    )[0]


@torch.no_grad()
def encode_prompts(
    tokenizer: "PreTrainedTokenizerBase",
    text_encoder: nn.Module,
    prompts: list[str],
    device: torch.device,
) -> tuple[Tensor, Tensor]:
    """Encode texts, each truncated to `MAX_PROMPT_TOKENS` tokens.

    Args:
        tokenizer (`PreTrainedTokenizerBase`): Tokenizer of the text encoder.
        text_encoder (`torch.nn.Module`): Encoder, such as T5's; the first output is the last hidden state.
        prompts (`list[str]`): Texts.
        device (`torch.device`): Device of the inputs.

    Returns:
        States (batch, tokens, width) and a bool mask (batch, tokens), with no valid token for a blank text.
    """
    _warn_of_unknown_texts(tokenizer, prompts)
    limit = min(tokenizer.model_max_length, MAX_PROMPT_TOKENS)
    tokens = tokenizer(prompts, padding=True, truncation=True, max_length=limit, return_tensors="pt")
    if tokens["input_ids"].shape[1] == limit:
        longest = max(len(ids) for ids in tokenizer(prompts).input_ids)
        if longest > limit:
            logger.warning(f"a prompt has {longest} tokens; the first {limit} are used.")
    input_ids, mask = (tokens[name].to(device) for name in ("input_ids", "attention_mask"))
    has_text = torch.tensor([bool(prompt.strip()) for prompt in prompts], device=device)
    return text_encoder(input_ids, attention_mask=mask)[0], mask.bool() & has_text[:, None]


def unknown_texts(tokenizer: "PreTrainedTokenizerBase", prompts: Sequence[str]) -> list[str]:
    """Return the texts of which a tokenizer knows no letter or digit, such as Cyrillic ones for T5.

    Texts of one length then have equal tokens, up to punctuation.

    Args:
        tokenizer (`PreTrainedTokenizerBase`): Tokenizer of a text encoder.
        prompts (`Sequence[str]`): Texts.
    """
    unknown = tokenizer.unk_token_id
    if unknown is None:  # one of bytes
        return []
    found = []
    for prompt, ids in zip(prompts, tokenizer(list(prompts), add_special_tokens=False).input_ids, strict=True):
        known = tokenizer.decode([token for token in ids if token != unknown])
        if unknown in ids and not any(character.isalnum() for character in known):
            found.append(prompt)
    return found


def _warn_of_unknown_texts(tokenizer: "PreTrainedTokenizerBase", prompts: Sequence[str]) -> None:
    """Warn of the first text that a tokenizer does not know; once for each tokenizer, for training."""
    if tokenizer not in _WARNED and (texts := unknown_texts(tokenizer, prompts)):
        _WARNED.add(tokenizer)
        logger.warning(
            f"the tokenizer of the text encoder knows no letter of {texts[0]!r}: it becomes {tokenizer.unk_token} "
            "only, like any other text in such letters; translate it, or use a model with another text encoder."
        )
