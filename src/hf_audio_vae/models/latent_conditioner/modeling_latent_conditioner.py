from dataclasses import dataclass

import torch
from diffusers import ConfigMixin, ModelMixin
from diffusers.configuration_utils import register_to_config
from diffusers.models.embeddings import TimestepEmbedding, Timesteps
from diffusers.utils import BaseOutput
from torch import Tensor, nn

from hf_audio_vae.models.inputs import check_sizes
from hf_audio_vae.modules.pretrained import CheckedPretrainedMixin

DURATION_FEATURES = 256
PER_SECOND = 100.0  # durations are resolved to about a hundredth of a second


@dataclass
class LatentConditionerOutput(BaseOutput):
    """Output of `LatentConditioner`: the conditions of a `StableAudioDiTModel`, by its argument names.

    Args:
        encoder_hidden_states (`torch.Tensor` of shape `(batch, tokens, hidden_size)`): For cross-attention.
        encoder_attention_mask (`torch.Tensor` of shape `(batch, tokens)`): Bool, True for valid tokens.
        global_hidden_states (`torch.Tensor` of shape `(batch, 1, hidden_size)`): For the sequence's first token.
    """

    encoder_hidden_states: Tensor | None = None
    encoder_attention_mask: Tensor | None = None
    global_hidden_states: Tensor | None = None


class LatentConditioner(CheckedPretrainedMixin, ModelMixin, ConfigMixin):
    """Embeds a duration and, if the model has them, a class and a text as the conditions of a denoiser.

    The duration is always given. A class or text that is left out, for guidance or because an item has none, gives no
    valid token: the denoiser then sees only the duration.

    Args:
        hidden_size (`int`): Width of the tokens: `cross_attention_input_dim` and `global_states_input_dim` of the
            `StableAudioDiTModel`.
        class_names (`tuple[str, ...]`): Names of the classes; none for a model without.
        text_hidden_size (`int`, *optional*): Width of the text encoder's states; none for a model without text.

    Raises:
        ValueError: A size is not positive, or `class_names` holds a name twice.

    Example:
        >>> conditioner = LatentConditioner(8, class_names=("drum", "voice"))
        >>> condition = conditioner(torch.tensor([1.5, 2.0]), class_labels=torch.tensor([0, 1]))
        >>> condition.encoder_hidden_states.shape, condition.encoder_attention_mask.tolist()
        (torch.Size([2, 2, 8]), [[True, True], [True, True]])
    """

    @register_to_config
    def __init__(
        self, hidden_size: int = 768, class_names: tuple[str, ...] = (), text_hidden_size: int | None = None
    ) -> None:
        super().__init__()
        check_sizes(hidden_size=hidden_size)
        if text_hidden_size is not None:
            check_sizes(text_hidden_size=text_hidden_size)
        if not isinstance(class_names, list | tuple) or not all(isinstance(name, str) for name in class_names):
            raise ValueError(f"`class_names` is {class_names!r}; give a list of names.")
        if len(set(class_names)) < len(class_names):
            raise ValueError(f"`class_names` {tuple(class_names)} has one name twice; give each class its own.")
        self.duration_features = Timesteps(DURATION_FEATURES, True, 0, scale=PER_SECOND)
        self.duration_embedding = TimestepEmbedding(DURATION_FEATURES, hidden_size)
        self.class_embedding = nn.Embedding(len(class_names), hidden_size) if class_names else None
        self.text_projection = nn.Linear(text_hidden_size, hidden_size) if text_hidden_size else None

    def forward(
        self,
        durations: Tensor,
        *,
        class_labels: Tensor | None = None,
        text_hidden_states: Tensor | None = None,
        text_attention_mask: Tensor | None = None,
        dropped: Tensor | None = None,
    ) -> LatentConditionerOutput:
        """Embed the conditions.

        Args:
            durations (`torch.Tensor` of shape `(batch,)`): Durations in seconds.
            class_labels (`torch.Tensor` of shape `(batch,)`, *optional*): Indices into `class_names`; -1 for an item
                without a class.
            text_hidden_states (`torch.Tensor` of shape `(batch, tokens, text_hidden_size)`, *optional*): States of
                the text encoder.
            text_attention_mask (`torch.Tensor` of shape `(batch, tokens)`, *optional*): Valid tokens; all if
                not given.
            dropped (`torch.Tensor` of shape `(batch,)`, *optional*): Bool, items without class and text.

        Raises:
            ValueError: A class or a text is given to a model without it.
        """
        batch = len(durations)
        kept = torch.ones(batch, dtype=torch.bool, device=durations.device) if dropped is None else ~dropped
        duration = self.duration_embedding(self.duration_features(durations).to(self.dtype))  # (batch, hidden_size)
        tokens, masks, total = [duration[:, None]], [torch.ones_like(kept)[:, None]], duration
        if class_labels is not None:
            if self.class_embedding is None:
                raise ValueError("`class_labels` are given, but this model was trained without classes.")
            embedded = self.class_embedding(class_labels.clamp(min=0))
            has_class = kept & (class_labels >= 0)
            tokens.append(embedded[:, None])
            masks.append(has_class[:, None])
            total = total + embedded * has_class[:, None]
        if text_hidden_states is not None:
            if self.text_projection is None:
                raise ValueError("a text is given, but this model was trained without texts.")
            tokens.append(self.text_projection(text_hidden_states.to(self.dtype)))
            valid = torch.ones_like(text_hidden_states[..., 0], dtype=torch.bool)
            if text_attention_mask is not None:
                valid = text_attention_mask.bool()
            masks.append(valid & kept[:, None])
        return LatentConditionerOutput(torch.cat(tokens, dim=1), torch.cat(masks, dim=1), total[:, None])
