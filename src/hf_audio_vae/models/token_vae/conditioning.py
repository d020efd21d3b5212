"""How a decoder of transformers reads latents."""

from abc import ABC, abstractmethod
from typing import Any

import torch
from torch import Tensor, nn

EMBEDDING_STD = 0.02  # of a new embedding, by default
ADDED = "added_to_hidden_states"  # argument of the decoder, which passes it on to each of its layers


class LatentProjection(nn.Linear):
    """A projection that makes latents of the prior as large as the embeddings of a new model of transformers.

    Larger ones hide the embeddings: the decoder then learns slowly which token follows which.
    """

    @torch.no_grad()
    def reset_parameters(self) -> None:
        """Draw new weights."""
        nn.init.normal_(self.weight, std=EMBEDDING_STD * self.in_features**-0.5)
        nn.init.zeros_(self.bias)


class Conditioning(nn.Module, ABC):
    """Maps latents to inputs of a decoder.

    Args:
        latent_channels (`int`): Channels of a latent vector.
        num_latents (`int`): Number of latent vectors.
        hidden_size (`int`): Size of the decoder's hidden states.
    """

    @staticmethod
    def prefix_length(num_latents: int) -> int:
        """Return the number of positions of the decoder before the first token."""
        return 0

    def attach(self, decoder: nn.Module, num_layers: int) -> None:
        """Prepare a new decoder with this number of layers."""

    @abstractmethod
    def inputs(self, latents: Tensor, input_ids: Tensor, embed: nn.Module, *, first: bool) -> dict[str, Tensor]:
        """Return arguments of the decoder.

        Args:
            latents (`torch.Tensor` of shape `(batch, latent_channels, num_latents)`): Latents.
            input_ids (`torch.Tensor` of shape `(batch, length)`): Tokens.
            embed (`torch.nn.Module`): The decoder's token embedding.
            first (`bool`): Whether the decoder has read nothing of the sequence yet.
        """


class PrefixConditioning(Conditioning):
    """Latents as embeddings before the first token."""

    def __init__(self, latent_channels: int, num_latents: int, hidden_size: int) -> None:
        super().__init__()
        self.projection = LatentProjection(latent_channels, hidden_size)

    @staticmethod
    def prefix_length(num_latents: int) -> int:
        """Return the number of latent vectors."""
        return num_latents

    def inputs(self, latents: Tensor, input_ids: Tensor, embed: nn.Module, *, first: bool) -> dict[str, Tensor]:
        """Return the embeddings of the prefix, if it was not read yet, and of the tokens."""
        if not first:
            return {"input_ids": input_ids}
        return {"inputs_embeds": torch.cat([self.projection(latents.transpose(1, 2)), embed(input_ids)], dim=1)}


class InAttentionConditioning(Conditioning):
    """Latents, concatenated and projected, added to the hidden states before every layer.

    The in-attention of MuseMorphose (Wu & Yang, 2021, arXiv:2105.04090, eq. 12), with one projection for all layers.
    Its bars have a latent each; here, all positions read all latents.
    """

    def __init__(self, latent_channels: int, num_latents: int, hidden_size: int) -> None:
        super().__init__()
        self.projection = LatentProjection(latent_channels * num_latents, hidden_size)

    def attach(self, decoder: nn.Module, num_layers: int) -> None:
        """Make each layer add what the decoder was given; the hook holds nothing, so the decoder can be copied."""
        for layer in layers_of(decoder, num_layers):
            layer.register_forward_pre_hook(_add_to_hidden_states, with_kwargs=True)

    def inputs(self, latents: Tensor, input_ids: Tensor, embed: nn.Module, *, first: bool) -> dict[str, Tensor]:
        """Return the tokens, and what is added to the hidden states, (batch, 1, hidden_size)."""
        return {"input_ids": input_ids, ADDED: self.projection(latents.flatten(1))[:, None]}


CONDITIONINGS: dict[str, type[Conditioning]] = {
    "prefix": PrefixConditioning,
    "in_attention": InAttentionConditioning,
}


def layers_of(model: nn.Module, num_layers: int) -> nn.ModuleList:
    """Return the list of the layers of a transformer; raises `ValueError` if there is none."""
    for module in model.modules():
        if isinstance(module, nn.ModuleList) and len(module) == num_layers and len(set(map(type, module))) == 1:
            return module
    raise ValueError(
        f"a {type(model).__name__} has no list of {num_layers} layers to add latents to; use another decoder such as "
        f"gpt2 or llama, or `conditioning` prefix."
    )


def _add_to_hidden_states(
    layer: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Add the argument `ADDED` to the hidden states, and take it out."""
    kwargs = dict(kwargs)
    added = kwargs.pop(ADDED, None)
    if added is None:
        return args, kwargs
    if args:
        return (args[0] + added, *args[1:]), kwargs
    return args, kwargs | {"hidden_states": kwargs["hidden_states"] + added}
