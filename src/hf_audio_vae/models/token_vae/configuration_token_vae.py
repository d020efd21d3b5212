from typing import Any, ClassVar

from huggingface_hub.dataclasses import strict
from transformers import AutoConfig, PreTrainedConfig
from transformers.configuration_utils import SubConfigSpec

from hf_audio_vae.models.contexts import CONTEXT, context_length
from hf_audio_vae.models.inputs import check_sizes
from hf_audio_vae.models.token_vae.conditioning import CONDITIONINGS

SIZES = {"vocab_size": 1029, "hidden_size": 256, "num_hidden_layers": 4, "num_attention_heads": 4}
SPECIAL = {"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}  # those of `CodeTokens`


@strict
class TokenVAEConfig(PreTrainedConfig):
    """Configuration of a `TokenVAE`; by default, BERT and GPT-2 for four codebooks of 256 codes.

    Args:
        encoder (`PreTrainedConfig` or `dict`): Configuration of any bidirectional encoder of transformers; a
            dictionary names its `model_type`.
        decoder (`PreTrainedConfig` or `dict`): Configuration of any causal language model of transformers. Its begin,
            end and padding ids are those of the model.
        latent_channels (`int`): Channels of a latent vector.
        num_latents (`int`): Number of latent vectors of a sequence.
        conditioning (`str`): How the decoder reads the latents: `"prefix"`, as embeddings before the first token, or
            `"in_attention"`, added to the hidden states before every layer (Wu & Yang, 2021, arXiv:2105.04090).

    Raises:
        ValueError: A number is out of range, a name unknown, or encoder and decoder do not fit each other.

    Example:
        >>> encoder = {"model_type": "bert", "vocab_size": 40, "max_position_embeddings": 64}
        >>> decoder = encoder | {"model_type": "llama", "pad_token_id": 0}
        >>> config = TokenVAEConfig(encoder=encoder, decoder=decoder, num_latents=4, conditioning="prefix")
        >>> config.vocab_size, config.max_tokens  # the prefix takes four positions of the decoder
        (40, 60)
    """

    model_type = "token_vae"
    sub_configs_defaults: ClassVar[dict[str, SubConfigSpec]] = {
        "encoder": SubConfigSpec(
            AutoConfig, "bert", {**SIZES, CONTEXT: 1024, "intermediate_size": 1024, "pad_token_id": 0}
        ),
        "decoder": SubConfigSpec(AutoConfig, "gpt2", {**SIZES, CONTEXT: 1024, **SPECIAL}),
    }

    encoder: Any = None  # a dictionary becomes a configuration
    decoder: Any = None
    latent_channels: int = 64
    num_latents: int = 1
    conditioning: str = "in_attention"

    def __post_init__(self, **kwargs: object) -> None:
        """Make the two configurations, then check values beyond their types."""
        super().__post_init__(**kwargs)
        check_sizes(latent_channels=self.latent_channels, num_latents=self.num_latents)
        if self.conditioning not in CONDITIONINGS:
            raise ValueError(f"`conditioning` is {self.conditioning!r}; use one of {', '.join(CONDITIONINGS)}.")
        for name, part in (("encoder", self.encoder), ("decoder", self.decoder)):
            if part.is_encoder_decoder:
                raise ValueError(f"`{name}` is a {part.model_type}, an encoder with a decoder; use only one of them.")
            if missing := [key for key in ("vocab_size", "hidden_size") if not hasattr(part, key)]:
                raise ValueError(
                    f"`{name}` is a {part.model_type} without `{missing[0]}`, no model of tokens; use for example "
                    f"bert for the encoder and gpt2 for the decoder."
                )
        if self.encoder.vocab_size != self.decoder.vocab_size:
            raise ValueError(
                f"the `encoder` has a `vocab_size` of {self.encoder.vocab_size}, the `decoder` of "
                f"{self.decoder.vocab_size}; both read the same tokens."
            )
        missing = [name for name in SPECIAL if getattr(self.decoder, name, None) is None]
        if missing:
            raise ValueError(f"the `decoder` has no `{missing[0]}`; give it, as an id of the tokens.")
        if self.max_tokens is not None and self.max_tokens < 2:
            raise ValueError(
                f"a sequence has at most {self.max_tokens} tokens; increase `max_position_embeddings` of `encoder` "
                f"and `decoder`, or decrease `num_latents`."
            )

    @property
    def vocab_size(self) -> int:
        """Number of ids, including special tokens."""
        return int(self.decoder.vocab_size)

    @property
    def prefix_length(self) -> int:
        """Positions of the decoder before the first token."""
        return CONDITIONINGS[self.conditioning].prefix_length(self.num_latents)

    @property
    def max_tokens(self) -> int | None:
        """Largest number of tokens of a sequence; `None` if neither part limits it."""
        read = (context_length(self.encoder), context_length(self.decoder))
        limits = (read[0], None if read[1] is None else read[1] - self.prefix_length)
        return min((limit for limit in limits if limit is not None), default=None)
