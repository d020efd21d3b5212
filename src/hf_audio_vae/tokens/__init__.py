"""Codes as tokens of a language model."""

from hf_audio_vae.tokens.code_tokens import CodeTokens
from hf_audio_vae.tokens.storage import CodesInfo, load_tokens, save_tokens
from hf_audio_vae.tokens.upsampling_tokens import UpsamplingTokens

__all__ = ["CodeTokens", "CodesInfo", "UpsamplingTokens", "load_tokens", "save_tokens"]
