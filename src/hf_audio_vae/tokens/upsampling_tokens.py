from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from hf_audio_vae.tokens.code_tokens import BOS, SEPARATOR, CodeTokens


@dataclass(frozen=True)
class UpsamplingTokens:
    """Tokens of a window of coarse and fine codes: begin, coarse codes, separator, fine codes.

    A causal language model of these tokens generates the fine codes of a window from its coarse codes, like the
    upsamplers of Jukebox (Dhariwal et al., 2020), but in one sequence. Windows have no end token, since the coarse
    codes determine the length.

    Args:
        coarse_sizes (`tuple[int, ...]`): Codebook sizes of the coarse level.
        fine_sizes (`tuple[int, ...]`): Codebook sizes of the fine level.
        unit_frames (`tuple[int, int]`): Coarse and fine frames of a unit, the shortest segment with whole frames of
            both levels; `(1, 4)` if a coarse frame is four fine frames.

    Raises:
        ValueError: A codebook has no codes, or a unit has no frames.

    Example:
        >>> tokens = UpsamplingTokens((3,), (8,), (1, 2))
        >>> ids, learnt = tokens.example([torch.tensor([[2, 0]]), torch.tensor([[7, 6, 1, 0]])], ended=True)
        >>> ids.tolist()
        [1, 7, 5, 4, 15, 14, 9, 8]
        >>> learnt.tolist()
        [False, False, False, False, True, True, True, True]
    """

    coarse_sizes: tuple[int, ...]
    fine_sizes: tuple[int, ...]
    unit_frames: tuple[int, int]

    def __post_init__(self) -> None:
        for name in ("coarse_sizes", "fine_sizes", "unit_frames"):
            object.__setattr__(self, name, tuple(int(value) for value in getattr(self, name)))
        if len(self.unit_frames) != 2 or min(self.unit_frames) < 1:
            raise ValueError(f"`unit_frames` is {self.unit_frames}; give coarse and fine frames, at least 1 each.")
        _ = self.fine  # checks the sizes

    @property
    def coarse(self) -> CodeTokens:
        """Tokens of the coarse level."""
        return CodeTokens(self.coarse_sizes)

    @property
    def fine(self) -> CodeTokens:
        """Tokens of the fine level; their ids follow those of the coarse level."""
        return CodeTokens(self.fine_sizes, first_id=self.coarse.vocab_size)

    @property
    def vocab_size(self) -> int:
        """Number of ids, including special tokens."""
        return self.fine.vocab_size

    def length(self, num_units: int) -> int:
        """Return the number of tokens of a window of `num_units` units, including begin and separator."""
        coarse, fine = (num_units * frames for frames in self.unit_frames)
        return 2 + coarse * len(self.coarse_sizes) + fine * len(self.fine_sizes)

    def prompt(self, coarse: Tensor) -> Tensor:
        """Return the tokens before the fine codes of a window, from its coarse codes (num_codebooks, frames)."""
        return torch.cat([torch.tensor([BOS]), self.coarse.body(coarse), torch.tensor([SEPARATOR])])

    def example(self, parts: Sequence[Tensor], *, ended: bool) -> tuple[Tensor, Tensor]:
        """Return ids and their loss mask, (length,) each; the mask is True at fine codes.

        Args:
            parts (`Sequence[torch.Tensor]`): Coarse and fine codes of a window, (num_codebooks, frames) each.
            ended (`bool`): Whether the sound ends with the window; ignored.

        Raises:
            ValueError: The two parts differ in duration, or do not fit the codebooks.
        """
        coarse, fine = parts
        units, rest = divmod(coarse.shape[1], self.unit_frames[0])
        if rest or fine.shape[1] != units * self.unit_frames[1]:
            raise ValueError(
                f"{coarse.shape[1]} coarse frames do not match {fine.shape[1]} fine frames; a window has "
                f"{self.unit_frames[0]} and {self.unit_frames[1]}, or a multiple of both."
            )
        prompt = self.prompt(coarse)
        ids = torch.cat([prompt, self.fine.body(fine)])
        return ids, torch.arange(len(ids)) >= len(prompt)
