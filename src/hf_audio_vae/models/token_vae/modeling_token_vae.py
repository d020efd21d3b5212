import inspect
from typing import Any

import torch
import torch.nn.functional as F
from diffusers.utils.torch_utils import randn_tensor
from torch import Tensor, nn
from transformers import (
    MODEL_MAPPING,
    AutoModel,
    AutoModelForCausalLM,
    Cache,
    GenerationMixin,
    PreTrainedConfig,
    PreTrainedModel,
)

from hf_audio_vae.models.inputs import check_latents
from hf_audio_vae.models.token_vae.conditioning import CONDITIONINGS, LatentProjection
from hf_audio_vae.models.token_vae.configuration_token_vae import TokenVAEConfig
from hf_audio_vae.models.token_vae.outputs import TokenVAEOutput
from hf_audio_vae.models.transformers_model import TransformersModelMixin
from hf_audio_vae.models.variational_outputs import VAEEncoderOutput
from hf_audio_vae.modules.deferral import deferring_checks, require
from hf_audio_vae.modules.distributions import DiagonalGaussian
from hf_audio_vae.modules.pooling import AttentionPooling

IGNORED = -100  # label that transformers' losses ignore


class TokenVAE(TransformersModelMixin, PreTrainedModel, GenerationMixin):  # type: ignore[misc]
    """A variational autoencoder of token sequences with one latent vector, or a short sequence of them.

    A bidirectional transformer encodes a sequence, and an autoregressive one decodes it from the latents, like
    MusicVAE (Roberts et al., 2018, arXiv:1803.05428), Optimus (Li et al., 2020, arXiv:2004.04092) and MuseMorphose
    (Wu & Yang, 2021, arXiv:2105.04090). Both are models of transformers.

    Args:
        config (`TokenVAEConfig`): Configuration.

    Example:
        >>> sizes = {"vocab_size": 20, "hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2}
        >>> encoder = {"model_type": "bert", "intermediate_size": 16, **sizes}
        >>> decoder = {"model_type": "gpt2", "bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0, **sizes}
        >>> model = TokenVAE(TokenVAEConfig(encoder=encoder, decoder=decoder, latent_channels=4, num_latents=2)).eval()
        >>> ids = torch.tensor([[1, 7, 9, 8, 2]])
        >>> latents = model.encode(ids).latent_dist.mode()
        >>> latents.shape
        torch.Size([1, 4, 2])
        >>> model.generate(latents=latents, max_new_tokens=3).shape[0]
        1
    """

    config: TokenVAEConfig
    config_class = TokenVAEConfig
    base_model_prefix = "token_vae"
    main_input_name = "input_ids"
    supports_gradient_checkpointing = True
    _supports_sdpa = True
    _supports_flash_attn = True
    _supports_flex_attn = True
    _supports_attention_backend = True

    def __init__(self, config: TokenVAEConfig) -> None:
        super().__init__(config)
        encoder, decoder, channels = config.encoder, config.decoder, config.latent_channels
        self.encoder = AutoModel.from_config(encoder, **without_pooler(encoder))
        self.pooling = AttentionPooling(encoder.hidden_size, config.num_latents)
        self.to_posterior = nn.Linear(encoder.hidden_size, 2 * channels)
        self.decoder = AutoModelForCausalLM.from_config(decoder)
        self.conditioning = CONDITIONINGS[config.conditioning](channels, config.num_latents, decoder.hidden_size)
        self.conditioning.attach(self.decoder, decoder.num_hidden_layers)
        self.post_init()

    @torch.no_grad()
    def _init_weights(self, module: nn.Module) -> None:
        """Initialise weights of the layers between encoder and decoder that were not loaded."""
        if isinstance(module, AttentionPooling | LatentProjection):
            module.reset_parameters()
        else:
            super()._init_weights(module)

    def get_input_embeddings(self) -> nn.Module:
        """Return the decoder's token embedding."""
        return self.decoder.get_input_embeddings()

    @classmethod
    def register(cls) -> None:
        """Register with transformers' `Auto` classes, also as a language model, since it generates tokens."""
        super().register()
        AutoModelForCausalLM.register(cls.config_class, cls, exist_ok=True)

    @property
    def latent_channels(self) -> int:
        """Channels of a latent vector."""
        return self.config.latent_channels

    def sample_latents(self, batch_size: int, generator: torch.Generator | None = None) -> Tensor:
        """Draw latents from the prior, a unit Gaussian, (batch_size, latent_channels, num_latents)."""
        shape = (batch_size, self.config.latent_channels, self.config.num_latents)
        return randn_tensor(shape, generator=generator, device=self.device, dtype=self.dtype)

    @deferring_checks
    def encode(self, input_ids: Tensor, attention_mask: Tensor | None = None) -> VAEEncoderOutput:
        """Encode sequences.

        Args:
            input_ids (`torch.Tensor` of shape `(batch, length)`): Tokens, with padding at the end.
            attention_mask (`torch.Tensor` of shape `(batch, length)`, *optional*): 1 for tokens, 0 for padding. If not
                given, padding is where the padding id is.

        Returns:
            `VAEEncoderOutput`: With `latent_dist` over latents (batch, latent_channels, num_latents).

        Raises:
            ValueError: Wrong rank or dtype, no tokens, more tokens than `config.max_tokens`, or an unknown id.
        """
        return VAEEncoderOutput(latent_dist=self._posterior(input_ids, attention_mask))

    @deferring_checks
    def forward(
        self,
        input_ids: Tensor,
        attention_mask: Tensor | None = None,
        position_ids: Tensor | None = None,
        past_key_values: Cache | None = None,
        labels: Tensor | None = None,
        latents: Tensor | None = None,
        decoder_input_ids: Tensor | None = None,
        use_cache: bool | None = None,
        sample_posterior: bool | None = None,
        generator: torch.Generator | list[torch.Generator] | None = None,
        return_dict: bool | None = None,
        **kwargs: Any,
    ) -> TokenVAEOutput | tuple[Any, ...]:
        """Encode sequences, unless their latents are given, and predict each token from latents and earlier tokens.

        Args:
            input_ids (`torch.Tensor` of shape `(batch, length)`): Tokens.
            attention_mask (`torch.Tensor` of shape `(batch, length)`, *optional*): 1 for tokens, 0 for padding; as in
                `encode`. With a cache, it includes the tokens of the cache.
            position_ids (`torch.Tensor` of shape `(batch, length)`, *optional*): Positions of the tokens.
            past_key_values (`Cache`, *optional*): Cache of the tokens before.
            labels (`torch.Tensor` of shape `(batch, length)`, *optional*): The same tokens, -100 for those to ignore;
                they are shifted here. Gives a `loss`.
            latents (`torch.Tensor` of shape `(batch, latent_channels, num_latents)`, *optional*): Latents to decode.
            decoder_input_ids (`torch.Tensor` of shape `(batch, length)`, *optional*): Tokens that the decoder reads
                instead, such as some replaced by the padding id (word dropout).
            use_cache (`bool`, *optional*): Return a cache.
            sample_posterior (`bool`, *optional*): Decode a sample of the posterior instead of its mean. If not given,
                sample in training mode and if there is a `generator`.
            generator (`torch.Generator` or a list, one per item, *optional*): Random source of the sample.
            return_dict (`bool`, *optional*): Return an output object rather than a tuple.
            kwargs: Further arguments of the decoder.

        Returns:
            `TokenVAEOutput`, or a tuple of its values that are not `None`.

        Raises:
            ValueError: As `encode`; or the latents have another shape or are not finite.
        """
        posterior = None
        if latents is None:
            posterior = self._posterior(input_ids, attention_mask)
            sampled = self.training or generator is not None if sample_posterior is None else sample_posterior
            latents = posterior.sample(generator) if sampled else posterior.mode()
        else:
            self._check_latents(latents, len(input_ids))
        decoded = self._decode(
            latents,
            input_ids if decoder_input_ids is None else decoder_input_ids,
            attention_mask,
            position_ids,
            past_key_values,
            use_cache=bool(use_cache),
            **kwargs,
        )
        logits = decoded.logits[:, -input_ids.shape[1] :]
        loss = None if labels is None else self._loss(logits, labels, posterior)
        output = TokenVAEOutput(
            loss=loss, logits=logits, latent_dist=posterior, past_key_values=decoded.get("past_key_values")
        )
        return output.to_tuple() if return_dict is False else output

    @torch.no_grad()
    def generate(  # type: ignore[override]  # transformers' arguments are all options here
        self, inputs: Tensor | None = None, *, latents: Tensor | None = None, **options: Any
    ) -> Any:
        """Decode latents with `generate` of transformers.

        Args:
            inputs (`torch.Tensor` of shape `(batch, length)`, *optional*): First tokens; by default, begin.
            latents (`torch.Tensor` of shape `(batch, latent_channels, num_latents)`, *optional*): Latents; by default,
                drawn from the prior.
            options: Those of transformers' `generate`.

        Raises:
            ValueError: The latents have another shape than the model's, or another batch size than the tokens.
        """
        prompt = options.pop("input_ids", None) if inputs is None else inputs
        if latents is None:
            latents = self.sample_latents(1 if prompt is None else len(prompt))
        if prompt is None:
            prompt = torch.full((len(latents), 1), self.config.decoder.bos_token_id, device=self.device)
        self._check_latents(latents, len(prompt))
        latents = latents.to(self.device, self.dtype)
        library: Any = super()
        return library.generate(prompt, latents=latents, **options)

    def _posterior(self, input_ids: Tensor, attention_mask: Tensor | None) -> DiagonalGaussian:
        self._check_ids(input_ids)
        mask = input_ids != self.config.decoder.pad_token_id if attention_mask is None else attention_mask.bool()
        hidden = self.encoder(input_ids=input_ids, attention_mask=mask.long()).last_hidden_state
        pooled = self.pooling(hidden, mask)
        parameters = self.to_posterior(pooled).transpose(1, 2)  # (batch, 2 * latent_channels, num_latents)
        return DiagonalGaussian.from_parameters(parameters)

    def _decode(
        self,
        latents: Tensor,
        input_ids: Tensor,
        attention_mask: Tensor | None,
        position_ids: Tensor | None,
        past_key_values: Cache | None,
        **options: Any,
    ) -> Any:
        """Return the decoder's output, with the logits of a prefix before those of the tokens."""
        first = past_key_values is None or past_key_values.get_seq_length() == 0
        prefix = self.config.prefix_length
        if attention_mask is not None and prefix:
            if attention_mask.ndim != 2:
                raise ValueError("a static cache leaves no place for the prefix; use the default cache of `generate`.")
            attention_mask = torch.cat([attention_mask.new_ones(len(input_ids), prefix), attention_mask], dim=1)
        if position_ids is not None and prefix:
            start = torch.arange(prefix if first else 0, device=input_ids.device).expand(len(position_ids), -1)
            position_ids = torch.cat([start, position_ids + prefix], dim=1)
        embed = self.decoder.get_input_embeddings()
        return self.decoder(
            **self.conditioning.inputs(latents.to(self.dtype), input_ids, embed, first=first),
            attention_mask=attention_mask,
            position_ids=position_ids,
            past_key_values=past_key_values,
            return_dict=True,
            **options,
        )

    def _loss(self, logits: Tensor, labels: Tensor, posterior: DiagonalGaussian | None) -> Tensor:
        """Return the negative ELBO in nats per token."""
        targets = labels[:, 1:]
        nats = F.cross_entropy(
            logits[:, :-1].float().transpose(1, 2), targets, ignore_index=IGNORED, reduction="none"
        ).sum(dim=1)
        if posterior is not None:
            nats = nats + posterior.kl().sum(dim=(1, 2))
        return (nats / (targets != IGNORED).sum(dim=1).clamp(min=1)).mean()

    def _check_ids(self, input_ids: Tensor) -> None:
        if input_ids.ndim != 2 or 0 in input_ids.shape:
            raise ValueError(f"`input_ids` has shape {tuple(input_ids.shape)}, expected (batch, length), 1 or more.")
        if input_ids.dtype not in (torch.int64, torch.int32):
            raise ValueError(f"`input_ids` has dtype {input_ids.dtype}; convert it to int64.")
        longest = self.config.max_tokens
        if longest is not None and input_ids.shape[1] > longest:
            raise ValueError(
                f"`input_ids` has {input_ids.shape[1]} tokens, the model reads {longest}; split the sequence, or "
                f"train a model with larger `max_position_embeddings`."
            )
        size = self.config.vocab_size
        require(
            lambda: (input_ids.min() >= 0) & (input_ids.max() < size),
            lambda: ValueError(
                f"`input_ids` holds ids from {input_ids.min()} to {input_ids.max()}, the model has 0 to {size - 1}; "
                f"use the tokens that it was trained with."
            ),
        )

    def _check_latents(self, latents: Tensor, batch_size: int) -> None:
        check_latents(latents, self.config.latent_channels)
        if latents.shape[2] != self.config.num_latents or len(latents) != batch_size:
            raise ValueError(
                f"`latents` has shape {tuple(latents.shape)}, expected "
                f"{(batch_size, self.config.latent_channels, self.config.num_latents)}; give one item per sequence."
            )


def without_pooler(config: PreTrainedConfig) -> dict[str, bool]:
    """Return the argument that leaves out a pooling layer that would not be used, if the encoder has one."""
    model_class: Any = MODEL_MAPPING.get(type(config), None)
    takes = model_class is not None and "add_pooling_layer" in inspect.signature(model_class).parameters
    return {"add_pooling_layer": False} if takes else {}
