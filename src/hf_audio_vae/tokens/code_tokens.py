"""Conversion between codes and one token sequence for a causal language model."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import torch
from torch import Tensor

PAD, BOS, EOS, BLANK, SEPARATOR = range(5)
FIRST_CODE = 5

Order = Literal["flattened", "delayed", "coarse_to_fine"]


@dataclass(frozen=True)
class CodeTokens:
    """Encoder and decoder between the codes of several codebooks and one token sequence.

    Each codebook has its own range of ids after the special tokens (pad, begin, end, blank, separator), so codebooks
    of different sizes share a vocabulary. The orders, for codebooks a, b and frames 0, 1, 2:

    - `flattened`: a0 b0 a1 b1 a2 b2, frame by frame.
    - `delayed`: a0 – a1 b0 a2 b1 – b2, each codebook one step after the previous one (Copet et al., 2023), with blanks
      where there is no frame. A code depends on the coarser codes of its own frame. It depends on the k-th finer
      codebook at all earlier frames except the last k.
    - `coarse_to_fine`: a0 a1 a2 b0 b1 b2, codebook by codebook (Borsos et al., 2022).

    Args:
        codebook_sizes (`tuple[int, ...]`): Number of codes of each codebook.
        order (`str`): One of the orders above.
        first_id (`int`): Id of the first code of the first codebook.

    Raises:
        ValueError: There is no codebook, a codebook has no codes, or the order is unknown.

    Example:
        >>> tokens = CodeTokens((4, 2), order="delayed")
        >>> ids = tokens.encode(torch.tensor([[3, 0, 1], [1, 1, 0]]))
        >>> ids.tolist()
        [1, 8, 3, 5, 10, 6, 10, 3, 9, 2]
        >>> tokens.decode(ids).tolist()
        [[3, 0, 1], [1, 1, 0]]
    """

    codebook_sizes: tuple[int, ...]
    order: Order = "flattened"
    first_id: int = FIRST_CODE

    def __post_init__(self) -> None:
        object.__setattr__(self, "codebook_sizes", tuple(int(size) for size in self.codebook_sizes))
        if not self.codebook_sizes or min(self.codebook_sizes) < 1:
            raise ValueError(
                f"`codebook_sizes` is {self.codebook_sizes}; give a size of at least 1 for each codebook."
            )
        if self.order not in get_args(Order):
            raise ValueError(f"`order` is {self.order!r}; use one of {', '.join(get_args(Order))}.")
        if self.first_id < FIRST_CODE:
            raise ValueError(f"`first_id` is {self.first_id}; the special tokens use 0 to {FIRST_CODE - 1}.")

    @property
    def num_codebooks(self) -> int:
        """Number of codebooks."""
        return len(self.codebook_sizes)

    @property
    def vocab_size(self) -> int:
        """Number of ids, including special tokens."""
        return self.first_id + sum(self.codebook_sizes)

    @property
    def unit_frames(self) -> tuple[int, ...]:
        """Frames of each part of an example in its shortest unit: one part, one frame."""
        return (1,)

    @property
    def delay(self) -> int:
        """Delay in frames of the last codebook relative to the first."""
        return self.num_codebooks - 1 if self.order == "delayed" else 0

    @property
    def shortest_window(self) -> int:
        """Minimum number of frames of a window for generation in windows that overlap by half.

        The last `delay` frames of a window are incomplete. More than half of the frames must be complete.
        """
        return 2 * self.delay + 1

    def ids_of(self, codebook: int) -> range:
        """Return the ids of the codes of a codebook."""
        start = self.first_id + sum(self.codebook_sizes[:codebook])
        return range(start, start + self.codebook_sizes[codebook])

    def length(self, num_frames: int) -> int:
        """Return the number of tokens of `num_frames` frames, including begin and end."""
        return len(self.layout(num_frames)[0]) + 2

    def layout(self, num_frames: int) -> tuple[Tensor, Tensor]:
        """Return the codebook and the frame index of each token between begin and end; codebook -1 is a blank."""
        count, frames = self.num_codebooks, torch.arange(num_frames)
        if self.order == "coarse_to_fine":
            return torch.arange(count).repeat_interleave(num_frames), frames.repeat(count)
        delay = torch.arange(count) if self.order == "delayed" else torch.zeros(count, dtype=torch.long)
        steps = torch.arange(num_frames + int(delay[-1])) if num_frames else frames
        frame_indices = steps[:, None] - delay  # (steps, num_codebooks)
        codebooks = torch.arange(count).expand_as(frame_indices).clone()
        codebooks[(frame_indices < 0) | (frame_indices >= num_frames)] = -1
        return codebooks.flatten(), frame_indices.flatten()

    def body(self, codes: Tensor, *, ended: bool = True) -> Tensor:
        """Return the tokens of codes like `encode`, without begin and end."""
        self.check(codes)
        codes = codes.cpu().long()
        codebooks, frame_indices = self.layout(codes.shape[1])
        if not ended and self.order == "delayed":  # the codes after the last step of a crop are unknown
            codebooks, frame_indices = (value[: codes.numel()] for value in (codebooks, frame_indices))
        blank = codebooks < 0
        ids = self._bounds(codebooks)[0] + codes[codebooks, frame_indices.clamp(0, max(codes.shape[1] - 1, 0))]
        return torch.where(blank, BLANK, ids)

    def encode(self, codes: Tensor, *, ended: bool = True) -> Tensor:
        """Convert codes to tokens.

        Args:
            codes (`torch.Tensor` of shape `(num_codebooks, frames)`): Int64, each less than its codebook size.
            ended (`bool`): Whether the sound ends here. A crop of a longer sound gets no end token.

        Returns:
            `torch.Tensor` of shape `(length,)`: Int64 ids on the CPU: begin, ordered codes, end.

        Raises:
            ValueError: The shape is wrong, or a code is outside its codebook.
        """
        end = [EOS] if ended else []
        return torch.cat([torch.tensor([BOS]), self.body(codes, ended=ended), torch.tensor(end, dtype=torch.long)])

    def decode(self, ids: Tensor) -> Tensor:
        """Convert tokens to codes.

        Args:
            ids (`torch.Tensor` of shape `(length,)`): Tokens from `encode` or from a model. Begin may be missing;
                tokens after the first end or padding are ignored.

        Returns:
            `torch.Tensor` of shape `(num_codebooks, frames)`: Int64; incomplete frames are removed.

        Raises:
            ValueError: A token is not allowed at its position.
        """
        if ids.ndim != 1:
            raise ValueError(f"`ids` has shape {tuple(ids.shape)}, expected (length,); decode one sequence at a time.")
        ids = ids.cpu().long()
        start = int(len(ids) > 0 and ids[0] == BOS)
        stops = ((ids == EOS) | (ids == PAD)).nonzero()
        body = ids[start : int(stops[0]) if len(stops) else len(ids)]
        frames, _ = self._begun(body)
        codebooks, frame_indices = self.layout(frames)
        length = min(len(body), len(codebooks))
        low, high = self._bounds(codebooks[:length])
        wrong = ((body[:length] < low) | (body[:length] >= high)).nonzero()
        position = int(wrong[0]) if len(wrong) else length
        if position < len(body):
            expected = f"{low[position]} to {high[position] - 1}" if len(wrong) else f"the end, {EOS}"
            raise ValueError(
                f"token {body[position]} at position {start + position} is not allowed: {self.order} order requires "
                f"{expected}; constrain the generation with `CodeConstraint`."
            )
        codebooks, frame_indices, is_code = codebooks[:length], frame_indices[:length], codebooks[:length] >= 0
        codes = torch.full((self.num_codebooks, frames), -1)
        codes[codebooks[is_code], frame_indices[is_code]] = (body - low)[is_code]
        complete = (codes >= 0).all(dim=0).long().cumprod(dim=0).sum()
        return codes[:, : int(complete)]

    def next_ids(self, body: Tensor) -> list[range]:
        """Return the ids allowed next if the number of frames is not fixed. The end follows whole frames only.

        Args:
            body (`torch.Tensor` of shape `(length,)`): Valid tokens so far, without begin.
        """
        if len(body) and int(body[-1]) in (EOS, PAD):
            return [range(PAD, PAD + 1)]
        begun, is_open = self._begun(body)
        allowed: list[range] = []
        for num_frames in (max(begun, 1), begun + 1) if is_open else (begun,):
            codebooks = self.layout(num_frames)[0]
            ended = len(body) >= len(codebooks)
            low, high = (EOS, EOS + 1) if ended else map(int, self._bounds(codebooks[len(body)]))
            allowed.append(range(low, high))
        return allowed

    def bounds(self, num_frames: int, known: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Return the lowest id, and the highest id plus one, at each position after begin, including the end.

        Args:
            num_frames (`int`): Total number of frames.
            known (`torch.Tensor` of shape `(batch, num_codebooks, frames)`, *optional*): Codes of the first frames;
                only they are allowed at their positions.

        Returns:
            Two int64 tensors of shape (batch, length - 1), or (1, length - 1) without `known`.

        Raises:
            ValueError: `known` has a wrong shape or dtype, or a code outside its codebook.
        """
        if known is not None:
            self.check(known, batched=True)
        codebooks, frame_indices = self.layout(num_frames)
        low, high = (bound.repeat(1 if known is None else len(known), 1) for bound in self._bounds(codebooks))
        if known is not None:
            given = (codebooks >= 0) & (frame_indices < known.shape[2])
            low[:, given] += known.cpu().long()[:, codebooks[given], frame_indices[given]]
            high[:, given] = low[:, given] + 1
        end = torch.full((len(low), 1), EOS)
        return torch.cat([low, end], dim=1), torch.cat([high, end + 1], dim=1)

    def example(self, parts: Sequence[Tensor], *, ended: bool) -> tuple[Tensor, Tensor]:
        """Return ids and their loss mask, (length,) each, for one part: codes (num_codebooks, frames)."""
        (codes,) = parts
        ids = self.encode(codes, ended=ended)
        return ids, torch.ones_like(ids, dtype=torch.bool)

    def check(self, codes: Tensor, *, batched: bool = False) -> None:
        """Raise `ValueError` unless codes, (num_codebooks, frames) or a batch of them, fit the codebooks."""
        shape = f"({'batch, ' if batched else ''}{self.num_codebooks}, frames)"
        if codes.ndim != 2 + batched or codes.shape[-2] != self.num_codebooks:
            raise ValueError(
                f"`codes` has shape {tuple(codes.shape)}, expected {shape}; give one codebook per size"
                f"{'' if batched else ', and one item'}."
            )
        if codes.is_floating_point() or codes.dtype == torch.bool:
            raise ValueError(f"`codes` has dtype {codes.dtype}; convert it to int64.")
        sizes = torch.tensor(self.codebook_sizes, device=codes.device)[:, None]
        wrong = ((codes < 0) | (codes >= sizes)).nonzero()
        if len(wrong):
            index = tuple(wrong[0].tolist())
            raise ValueError(
                f"code {codes[index]} of codebook {index[-2]} at frame {index[-1]} is outside 0 to "
                f"{self.codebook_sizes[index[-2]] - 1}; use the codebook sizes of the model that encoded."
            )

    def _bounds(self, codebooks: Tensor) -> tuple[Tensor, Tensor]:
        """Return the lowest id, and the highest id plus one, of each codebook; codebook -1 is the blank."""
        ranges = [*(self.ids_of(codebook) for codebook in range(self.num_codebooks)), range(BLANK, BLANK + 1)]
        low, high = torch.tensor([[ids.start, ids.stop] for ids in ranges]).T
        return low[codebooks], high[codebooks]

    def _begun(self, body: Tensor) -> tuple[int, bool]:
        """Return the number of frames that have begun, and whether more may follow, from the tokens alone."""
        count = self.num_codebooks
        if self.order == "coarse_to_fine":
            first = self.ids_of(0)
            others = ((body < first.start) | (body >= first.stop)).nonzero()
        else:
            ends = (body[::count] == BLANK) if self.order == "delayed" else torch.zeros(0)
            others = ends.nonzero()
            body = body[::count]
        return (max(int(others[0]), 1), False) if len(others) else (len(body), True)
