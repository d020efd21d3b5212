"""Codes as one stream of tokens that any causal language model reads and writes."""

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
    """One stream of tokens for the codes of several codebooks, and the way back.

    Every codebook has its own range of ids behind those of the special tokens (pad, begin, end, blank, separator), so
    that codebooks of any sizes share a vocabulary. The orders, for codebooks a, b and frames 0, 1, 2:

    - `flattened`: a0 b0 a1 b1 a2 b2, frame by frame.
    - `delayed`: a0 – a1 b0 a2 b1 – b2, each codebook one step behind the one before it (Copet et al., 2023); blank
      where there is no frame. A code has seen the coarser ones of its own frame and, of the codebook k places behind
      its own, all frames but the k last.
    - `coarse_to_fine`: a0 a1 a2 b0 b1 b2, codebook by codebook (Borsos et al., 2022).

    Args:
        codebook_sizes (`tuple[int, ...]`): Codes in each codebook.
        order (`str`): One of the orders.
        first_id (`int`): Id of the first code of the first codebook.

    Raises:
        ValueError: There is no codebook, one has no codes, or there is no such order.

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
            raise ValueError(f"`codebook_sizes` is {self.codebook_sizes}; name one size of at least 1 a codebook.")
        if self.order not in get_args(Order):
            raise ValueError(f"`order` is {self.order!r}, none of {', '.join(get_args(Order))}.")
        if self.first_id < FIRST_CODE:
            raise ValueError(f"`first_id` is {self.first_id}; the special tokens take up 0 to {FIRST_CODE - 1}.")

    @property
    def num_codebooks(self) -> int:
        """Codebooks in a frame."""
        return len(self.codebook_sizes)

    @property
    def vocab_size(self) -> int:
        """Ids there are, special tokens included."""
        return self.first_id + sum(self.codebook_sizes)

    @property
    def unit_frames(self) -> tuple[int, ...]:
        """Frames of each part of an example in its shortest stretch: one part, whole at every frame."""
        return (1,)

    @property
    def delay(self) -> int:
        """Frames by which the last codebook is behind the first."""
        return self.num_codebooks - 1 if self.order == "delayed" else 0

    @property
    def shortest_window(self) -> int:
        """Frames of the shortest windows that can be written one after another, each after half of the one before.

        At a window's end, the frames of the delay are not whole yet: more than half of it have to be.
        """
        return 2 * self.delay + 1

    def ids_of(self, codebook: int) -> range:
        """Return the ids of a codebook's codes."""
        start = self.first_id + sum(self.codebook_sizes[:codebook])
        return range(start, start + self.codebook_sizes[codebook])

    def length(self, num_frames: int) -> int:
        """Return the tokens of so many frames, begin and end included."""
        return len(self.layout(num_frames)[0]) + 2

    def layout(self, num_frames: int) -> tuple[Tensor, Tensor]:
        """Return which codebook and which frame each token between begin and end is; codebook -1 is a blank."""
        count, frames = self.num_codebooks, torch.arange(num_frames)
        if self.order == "coarse_to_fine":
            return torch.arange(count).repeat_interleave(num_frames), frames.repeat(count)
        delay = torch.arange(count) if self.order == "delayed" else torch.zeros(count, dtype=torch.long)
        steps = torch.arange(num_frames + int(delay[-1])) if num_frames else frames
        places = steps[:, None] - delay  # (steps, num_codebooks)
        codebooks = torch.arange(count).expand_as(places).clone()
        codebooks[(places < 0) | (places >= num_frames)] = -1
        return codebooks.flatten(), places.flatten()

    def body(self, codes: Tensor, *, ended: bool = True) -> Tensor:
        """Return the tokens of codes as `encode` does, without begin and end."""
        self.check(codes)
        codes = codes.cpu().long()
        codebooks, places = self.layout(codes.shape[1])
        if not ended and self.order == "delayed":  # what comes after a crop's last step is not known to it
            codebooks, places = (value[: codes.numel()] for value in (codebooks, places))
        blank = codebooks < 0
        ids = self._bounds(codebooks)[0] + codes[codebooks, places.clamp(0, max(codes.shape[1] - 1, 0))]
        return torch.where(blank, BLANK, ids)

    def encode(self, codes: Tensor, *, ended: bool = True) -> Tensor:
        """Turn codes into tokens.

        Args:
            codes (`torch.Tensor` of shape `(num_codebooks, frames)`): Int64, each below its codebook's size.
            ended (`bool`): Whether the sound ends here; a crop that goes on gets no end.

        Returns:
            `torch.Tensor` of shape `(length,)`: Int64 ids on the CPU: begin, codes in order, end.

        Raises:
            ValueError: The shape is another, or a code is outside its codebook.
        """
        end = [EOS] if ended else []
        return torch.cat([torch.tensor([BOS]), self.body(codes, ended=ended), torch.tensor(end, dtype=torch.long)])

    def decode(self, ids: Tensor) -> Tensor:
        """Turn tokens back into codes.

        Args:
            ids (`torch.Tensor` of shape `(length,)`): What `encode` made, or a model; begin may be missing, and what
                follows the first end or padding is not looked at.

        Returns:
            `torch.Tensor` of shape `(num_codebooks, frames)`: Int64; frames that are not complete are cut.

        Raises:
            ValueError: A token may not stand where it does.
        """
        if ids.ndim != 1:
            raise ValueError(f"`ids` has shape {tuple(ids.shape)}, expected (length,); decode one sequence at a time.")
        ids = ids.cpu().long()
        start = int(len(ids) > 0 and ids[0] == BOS)
        stops = ((ids == EOS) | (ids == PAD)).nonzero()
        body = ids[start : int(stops[0]) if len(stops) else len(ids)]
        frames, _ = self._begun(body)
        codebooks, places = self.layout(frames)
        fitting = min(len(body), len(codebooks))
        low, high = self._bounds(codebooks[:fitting])
        wrong = ((body[:fitting] < low) | (body[:fitting] >= high)).nonzero()
        position = int(wrong[0]) if len(wrong) else fitting
        if position < len(body):
            wanted = f"{low[position]} to {high[position] - 1}" if len(wrong) else f"the end, {EOS}"
            raise ValueError(
                f"token {body[position]} at position {start + position} does not fit: in {self.order} order there can "
                f"only be {wanted}; constrain the generation with `CodeConstraint`."
            )
        codebooks, places, there = codebooks[:fitting], places[:fitting], codebooks[:fitting] >= 0
        codes = torch.full((self.num_codebooks, frames), -1)
        codes[codebooks[there], places[there]] = (body - low)[there]
        complete = (codes >= 0).all(dim=0).long().cumprod(dim=0).sum()
        return codes[:, : int(complete)]

    def next_ids(self, body: Tensor) -> list[range]:
        """Return the ids that may follow, where the number of frames is not fixed: it can end at whole frames only.

        Args:
            body (`torch.Tensor` of shape `(length,)`): Valid tokens so far, begin left out.
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
        """Return the lowest id, and the one past the highest, at each place from the one after begin to the end.

        Args:
            num_frames (`int`): Frames in all.
            known (`torch.Tensor` of shape `(batch, num_codebooks, frames)`, *optional*): Codes of the first frames;
                where they belong, they alone are allowed.

        Returns:
            Two int64 tensors of shape (batch, length - 1), or (1, length - 1) if nothing is known.

        Raises:
            ValueError: What is known is of another shape or dtype, or no codes of these codebooks.
        """
        if known is not None:
            self.check(known, batched=True)
        codebooks, places = self.layout(num_frames)
        low, high = (bound.repeat(1 if known is None else len(known), 1) for bound in self._bounds(codebooks))
        if known is not None:
            given = (codebooks >= 0) & (places < known.shape[2])
            low[:, given] += known.cpu().long()[:, codebooks[given], places[given]]
            high[:, given] = low[:, given] + 1
        end = torch.full((len(low), 1), EOS)
        return torch.cat([low, end], dim=1), torch.cat([high, end + 1], dim=1)

    def example(self, parts: Sequence[Tensor], *, ended: bool) -> tuple[Tensor, Tensor]:
        """Return ids and which of them to learn, (length,) each, of a single part: codes (num_codebooks, frames)."""
        (codes,) = parts
        ids = self.encode(codes, ended=ended)
        return ids, torch.ones_like(ids, dtype=torch.bool)

    def check(self, codes: Tensor, *, batched: bool = False) -> None:
        """Raise `ValueError` unless codes, (num_codebooks, frames) or a batch of them, are of the codebooks."""
        shape = f"({'batch, ' if batched else ''}{self.num_codebooks}, frames)"
        if codes.ndim != 2 + batched or codes.shape[-2] != self.num_codebooks:
            raise ValueError(
                f"`codes` has shape {tuple(codes.shape)}, expected {shape}; take as many codebooks as there are sizes"
                f"{'' if batched else ', and one item'}."
            )
        if codes.is_floating_point() or codes.dtype == torch.bool:
            raise ValueError(f"`codes` has dtype {codes.dtype}; convert it to int64.")
        sizes = torch.tensor(self.codebook_sizes, device=codes.device)[:, None]
        wrong = ((codes < 0) | (codes >= sizes)).nonzero()
        if len(wrong):
            place = tuple(wrong[0].tolist())
            raise ValueError(
                f"code {codes[place]} of codebook {place[-2]} at frame {place[-1]} is outside 0 to "
                f"{self.codebook_sizes[place[-2]] - 1}; take the sizes of the model that encoded."
            )

    def _bounds(self, codebooks: Tensor) -> tuple[Tensor, Tensor]:
        """Lowest id and the one past the highest of each codebook, of -1 those of blank."""
        ranges = [*(self.ids_of(codebook) for codebook in range(self.num_codebooks)), range(BLANK, BLANK + 1)]
        low, high = torch.tensor([[ids.start, ids.stop] for ids in ranges]).T
        return low[codebooks], high[codebooks]

    def _begun(self, body: Tensor) -> tuple[int, bool]:
        """Frames that have begun, and whether more may come, from the tokens alone."""
        count = self.num_codebooks
        if self.order == "coarse_to_fine":
            first = self.ids_of(0)
            others = ((body < first.start) | (body >= first.stop)).nonzero()
        else:
            ends = (body[::count] == BLANK) if self.order == "delayed" else torch.zeros(0)
            others = ends.nonzero()
            body = body[::count]
        return (max(int(others[0]), 1), False) if len(others) else (len(body), True)
