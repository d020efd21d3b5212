import torch
from torch import Tensor
from transformers import LogitsProcessor

from hf_audio_vae.tokens.code_tokens import CodeTokens


class CodeConstraint(LogitsProcessor):
    """Restricts `generate` to the ids allowed at each position, so that its output can be decoded.

    Args:
        tokens (`CodeTokens`): Token order and codebook sizes.
        start (`int`): Number of tokens before the first code: 1 for begin, more with a longer prompt.
        num_frames (`int`, *optional*): Total number of frames, after which the sequence ends. If not given, it may end
            after any whole frame.
        known (`torch.Tensor` of shape `(batch, num_codebooks, frames)`, *optional*): Codes of the first frames, which
            are forced at their positions. Needs `num_frames`, and one item per sequence.

    Raises:
        ValueError: `known` is given without `num_frames`, or has more frames.

    Example:
        >>> constraint = CodeConstraint(CodeTokens((4, 2)), num_frames=1)
        >>> scores = constraint(torch.tensor([[1]]), torch.zeros(1, 11))
        >>> scores.isfinite().nonzero()[:, 1].tolist()  # the ids of the first codebook
        [5, 6, 7, 8]
    """

    def __init__(
        self, tokens: CodeTokens, *, start: int = 1, num_frames: int | None = None, known: Tensor | None = None
    ) -> None:
        if known is not None and (num_frames is None or known.shape[-1] > num_frames):
            raise ValueError(
                f"`known` has {known.shape[-1]} frames and `num_frames` is {num_frames}; it includes the known frames."
            )
        self.tokens = tokens
        self.start = start
        self.bounds = None if num_frames is None else tokens.bounds(num_frames, known)

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        """Set the scores, (batch, vocab_size), of all ids that may not follow `input_ids` to minus infinity.

        After the end of the sequence, only its end may follow.

        Raises:
            ValueError: There are fewer ids than before the first code, or fewer scores than ids of the tokens.
        """
        if input_ids.shape[1] < self.start:
            raise ValueError(f"there are {input_ids.shape[1]} ids, but the first code follows {self.start}.")
        if scores.shape[1] < self.tokens.vocab_size:
            raise ValueError(
                f"the model has {scores.shape[1]} ids, the tokens {self.tokens.vocab_size}; use a model of these."
            )
        ids = torch.arange(scores.shape[1], device=scores.device)
        if self.bounds is None:
            allowed = torch.zeros_like(scores, dtype=torch.bool)
            for item, body in enumerate(input_ids[:, self.start :].cpu()):
                for id_range in self.tokens.next_ids(body):
                    allowed[item, id_range.start : id_range.stop] = True
        else:
            position = min(input_ids.shape[1] - self.start, self.bounds[0].shape[1] - 1)
            low, high = (bound[:, position, None].to(scores.device) for bound in self.bounds)
            allowed = (ids >= low) & (ids < high)
        return scores.masked_fill(~allowed, -float("inf"))
