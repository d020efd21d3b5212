"""Codes written by language models: from nothing or on from what is there, and a finer level after a coarser one."""

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import AutoModelForCausalLM, PreTrainedModel

from hf_audio_vae.tokens import CodesInfo, CodeTokens, UpsamplingTokens, load_tokens
from hf_audio_vae.tokens.code_tokens import BOS, EOS, PAD
from hf_audio_vae.tokens.constraint import CodeConstraint


@dataclass(frozen=True)
class Sampling:
    """How the next code is chosen among those that fit.

    Args:
        do_sample (`bool`): Draw it; else take the likeliest.
        temperature (`float`): Below 1 for what is likelier.
        top_k (`int`): Draw among so many; 0 for all.
        top_p (`float`): Draw among the likeliest that are so probable together.

    Raises:
        ValueError: A temperature is not above 0, `top_k` is negative, or `top_p` is no share.
    """

    do_sample: bool = True
    temperature: float = 1.0
    top_k: int = 0
    top_p: float = 1.0

    def __post_init__(self) -> None:
        if not 0 < self.temperature < math.inf:
            raise ValueError(f"`temperature` is {self.temperature}; give one above 0, a small one for the likeliest.")
        if self.top_k < 0:
            raise ValueError(f"`top_k` is {self.top_k}; give how many codes to draw among, 0 for all.")
        if not 0 < self.top_p <= 1:
            raise ValueError(f"`top_p` is {self.top_p}; give a share above 0, 1 for all codes.")

    def options(self) -> dict[str, float | int | bool]:
        """Return the arguments of transformers' `generate`."""
        return dict(vars(self)) if self.do_sample else {"do_sample": False}


@dataclass(frozen=True)
class Prior:
    """A language model, its tokens, and where its codes come from.

    Args:
        model (`PreTrainedModel`): A `...ForCausalLM`.
        tokens (`CodeTokens` or `UpsamplingTokens`): What it writes.
        info (`CodesInfo`): Which autoencoder's codes they are.
    """

    model: PreTrainedModel
    tokens: CodeTokens | UpsamplingTokens
    info: CodesInfo

    @classmethod
    def from_pretrained(cls, pretrained_model_name_or_path: str | Path, *, revision: str | None = None) -> "Prior":
        """Load what train_token_prior.py wrote, from a folder or the Hub, in evaluation mode.

        Raises:
            ValueError: It is no language model of codes.
        """
        tokens, info = load_tokens(pretrained_model_name_or_path, revision=revision)
        model = AutoModelForCausalLM.from_pretrained(pretrained_model_name_or_path, revision=revision or "main")
        return cls(model.eval(), tokens, info)


@torch.no_grad()
def generate_codes(
    prior: Prior,
    num_frames: int,
    *,
    known: Tensor | None = None,
    batch_size: int = 1,
    sampling: Sampling | None = None,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Write codes, or go on with some.

    What is longer than the stretches the model was trained on is written in windows of that length, each after the
    last half of the one before.

    Args:
        prior (`Prior`): With `CodeTokens`.
        num_frames (`int`): Frames in all, those that are known included.
        known (`torch.Tensor` of shape `(batch, num_codebooks, frames)`, *optional*): Codes of the first frames.
        batch_size (`int`): Items to write, if none is known.
        sampling (`Sampling`, *optional*): How to choose; all that fits by its probability if not given.
        generator (`torch.Generator`, *optional*): Where the seed comes from. All items are drawn together: the same
            seed makes another first item in a batch of another size.

    Returns:
        `torch.Tensor` of shape `(batch, num_codebooks, num_frames)`: Int64 codes on the CPU.

    Raises:
        ValueError: The model writes a finer level after a coarser one, there is nothing to write, what is known is no
            codes of its codebooks, or its windows are too short for the delays.
    """
    tokens = prior.tokens
    if isinstance(tokens, UpsamplingTokens):
        raise ValueError("this model writes a finer level after a coarser one; use `upsample_codes`.")
    if known is not None:
        tokens.check(known, batched=True)
    elif batch_size < 1:
        raise ValueError(f"`batch_size` is {batch_size}; write 1 item or more.")
    empty = torch.zeros(batch_size, tokens.num_codebooks, 0, dtype=torch.int64)
    codes = empty if known is None else known.cpu().long()
    if num_frames <= codes.shape[2]:
        raise ValueError(f"`num_frames` is {num_frames}, {codes.shape[2]} are known; ask for more.")
    window = prior.info.segment_units
    overlap = window // 2
    if num_frames > window and window < tokens.shortest_window:
        raise ValueError(
            f"a window of {window} frames is too short for {tokens.num_codebooks} delayed codebooks; ask for at most "
            f"{window} frames, or train on longer ones."
        )
    count = min(window, num_frames)
    with _seeded(generator):
        while codes.shape[2] < num_frames:
            start = max(min(codes.shape[2] - overlap, num_frames - count), 0)
            ended = start + count == num_frames
            # Codebooks run one after another: of a stretch that goes on, the last frames are not whole yet.
            written = _write(prior.model, tokens, None, count, codes[:, :, start:], sampling, ended=ended)
            codes = torch.cat([codes[:, :, :start], written], dim=2)
    return codes


@torch.no_grad()
def upsample_codes(
    prior: Prior,
    coarse: Tensor,
    *,
    sampling: Sampling | None = None,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Write the finer level's codes that go with a coarser one's, in windows that overlap by half.

    Args:
        prior (`Prior`): With `UpsamplingTokens`.
        coarse (`torch.Tensor` of shape `(batch, num_codebooks, frames)`): Codes of the coarser level.
        sampling (`Sampling`, *optional*): How to choose; all that fits by its probability if not given.
        generator (`torch.Generator`, *optional*): Where the seed comes from.

    Returns:
        `torch.Tensor` of shape `(batch, num_codebooks, fine frames)`: Int64 codes on the CPU.

    Raises:
        ValueError: The model was not trained for this, `coarse` is no codes of its coarse level, or its frames are not
            a whole number of fine ones.
    """
    tokens = prior.tokens
    if not isinstance(tokens, UpsamplingTokens):
        raise ValueError("this model writes a level by itself; use `generate_codes`.")
    tokens.coarse.check(coarse, batched=True)
    per_coarse, per_fine = tokens.unit_frames
    units, rest = divmod(coarse.shape[2], per_coarse)
    if rest or not units:
        raise ValueError(f"`coarse` has {coarse.shape[2]} frames; a multiple of {per_coarse} has whole fine ones.")
    coarse = coarse.cpu()
    window = min(prior.info.segment_units, units)
    fine = torch.zeros(len(coarse), tokens.fine.num_codebooks, 0, dtype=torch.int64)
    with _seeded(generator):
        while fine.shape[2] < units * per_fine:
            start = min(max(fine.shape[2] // per_fine - window // 2, 0), units - window)
            given = coarse[:, :, start * per_coarse : (start + window) * per_coarse]
            prompt = torch.stack([tokens.prompt(item) for item in given])
            known = fine[:, :, start * per_fine :]
            written = _write(prior.model, tokens.fine, prompt, window * per_fine, known, sampling, ended=True)
            fine = torch.cat([fine[:, :, : start * per_fine], written], dim=2)
    return fine


def generate_hierarchy(
    priors: Sequence[Prior],
    num_frames: int,
    *,
    batch_size: int = 1,
    sampling: Sampling | None = None,
    generator: torch.Generator | None = None,
) -> tuple[Tensor, ...]:
    """Write levels of a hierarchy down to the finest: the first by itself, each finer one after the one above it.

    Args:
        priors (`Sequence[Prior]`): That of the coarsest level, or of a finer one; then those that upsample, each the
            level of the one before, down to level 0.
        num_frames (`int`): Frames of the first one's level.
        batch_size (`int`): Items to write.
        sampling (`Sampling`, *optional*): How to choose; all that fits by its probability if not given.
        generator (`torch.Generator`, *optional*): Where the seeds come from.

    Returns:
        Codes of each level that is written, finest first. If these are all, `HierarchicalVQVAE.decode` takes them as
        they are, else the first by itself, with `level=0`.

    Raises:
        ValueError: The models do not go on from each other down to level 0, are of codebooks of other sizes, or of
            different autoencoders.
    """
    chain = [prior.info.levels for prior in priors]
    top = len(priors) - 1
    if chain != [(top,), *((level + 1, level) for level in reversed(range(top)))]:
        raise ValueError(f"the models are of levels {chain}; give the coarsest level's, then each finer one's to 0.")
    if len({prior.info.weights for prior in priors}) > 1:
        raise ValueError("the models were trained on codes of different autoencoders; train them on those of one.")
    for above, below in pairwise(prior.tokens for prior in priors):
        written = above.fine_sizes if isinstance(above, UpsamplingTokens) else above.codebook_sizes
        if not isinstance(below, UpsamplingTokens) or below.coarse_sizes != written:
            read = below.coarse_sizes if isinstance(below, UpsamplingTokens) else "none"
            raise ValueError(f"a model writes codebooks of {written} codes, the next one reads {read}; train it anew.")
    codes = [generate_codes(priors[0], num_frames, batch_size=batch_size, sampling=sampling, generator=generator)]
    for prior in priors[1:]:
        codes.insert(0, upsample_codes(prior, codes[0], sampling=sampling, generator=generator))
    return tuple(codes)


def _write(
    model: PreTrainedModel,
    tokens: CodeTokens,
    prompt: Tensor | None,
    num_frames: int,
    known: Tensor,
    sampling: Sampling | None,
    *,
    ended: bool,
) -> Tensor:
    """Write a stretch of `num_frames`, the known ones included, (batch, num_codebooks, frames); whole frames only."""
    writer: Any = model  # `generate` comes to it by its subclass
    prompt = torch.full((len(known), 1), BOS) if prompt is None else prompt
    constraint = CodeConstraint(tokens, start=prompt.shape[1], num_frames=num_frames, known=known)
    low, high = tokens.bounds(num_frames, known)
    stop = low.shape[1] - 1  # without the end
    if not ended and tokens.order == "delayed":
        stop = num_frames * tokens.num_codebooks
    settled = int(((high - low) == 1).all(dim=0)[:stop].long().cumprod(dim=0).sum())
    ids = torch.cat([prompt, low[:, :settled]], dim=1).to(model.device)
    if settled < stop:
        made = writer.generate(
            ids,
            attention_mask=torch.ones_like(ids),
            max_length=prompt.shape[1] + stop,
            logits_processor=[constraint],
            bos_token_id=BOS,
            eos_token_id=EOS,
            pad_token_id=PAD,
            **(sampling or Sampling()).options(),
        )
    else:
        made = ids
    return torch.stack([tokens.decode(item) for item in made[:, prompt.shape[1] :].cpu()])


@contextmanager
def _seeded(generator: torch.Generator | None) -> Iterator[None]:
    """Draw by a number of the generator's, and leave torch's own state as it was; by that state without one."""
    with torch.random.fork_rng(enabled=generator is not None):
        if generator is not None:
            torch.manual_seed(int(torch.randint(2**62, (1,), generator=generator, device=generator.device)))
        yield
