"""Number of tokens that a transformer reads."""

from transformers import PreTrainedConfig

CONTEXT = "max_position_embeddings"  # name in transformers' configurations, possibly through an alias
# RoBERTa and its relatives number tokens from the padding id on, so their first positions hold no token.
_NUMBERED_FROM_PADDING = frozenset(
    ("camembert", "data2vec-text", "ibert", "longformer", "luke", "mpnet", "roberta", "roberta-prelayernorm")
    + ("xlm-roberta", "xlm-roberta-xl", "xmod")
)


def unused_positions(model_type: str, pad_token_id: int | None) -> int:
    """Return how many of the position embeddings of a type of transformers stand for no token."""
    return max(pad_token_id or 0, 1) + 1 if model_type in _NUMBERED_FROM_PADDING else 0


def context_length(config: PreTrainedConfig) -> int | None:
    """Return the largest number of tokens of a sequence, `None` without a limit."""
    positions = getattr(config, CONTEXT, None)
    if positions is None:
        return None
    return int(positions) - unused_positions(config.model_type, getattr(config, "pad_token_id", None))
