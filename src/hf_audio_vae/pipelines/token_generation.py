"""Code generation with language models: unconditional, as a continuation, or a finer level from a coarser level."""

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import AutoModelForCausalLM, LogitsProcessor, PreTrainedModel

from hf_audio_vae.files.fingerprints import fingerprint_differences
from hf_audio_vae.files.loading import load_checked
from hf_audio_vae.models import AutoencoderModel
from hf_audio_vae.pipelines.arguments import count, finite, integer
from hf_audio_vae.tokens import CodesInfo, CodeTokens, UpsamplingTokens, load_tokens
from hf_audio_vae.tokens.code_tokens import BOS, EOS, PAD
from hf_audio_vae.tokens.constraint import CodeConstraint
from hf_audio_vae.tokens.scores import ScoreConstraint, ScoreTokenizer
from hf_audio_vae.tokens.storage import TOKENS_FILE, load_score_tokenizer

TEMPERATURES = 1e-9, 1e9


@dataclass(frozen=True)
class Sampling:
    """Sampling options for the next code.

    Args:
        do_sample (`bool`): Sample; otherwise take the most likely code.
        temperature (`float`): Sampling temperature; below 1 favours likely codes.
        top_k (`int`): Number of most likely codes to sample from; 0 for all.
        top_p (`float`): Cumulative probability of the most likely codes to sample from.

    Raises:
        ValueError: `temperature` is not from 1e-9 to 1e9, `top_k` is negative, or `top_p` is not in (0, 1].
    """

    do_sample: bool = True
    temperature: float = 1.0
    top_k: int = 0
    top_p: float = 1.0

    def __post_init__(self) -> None:
        low, high = TEMPERATURES  # beyond these, logits overflow or all codes are alike
        if not low <= finite("temperature", self.temperature) <= high:
            raise ValueError(
                f"`temperature` is {self.temperature}; give a number from {low:g} to {high:g}, less than 1 for "
                f"likelier codes."
            )
        top_k = integer(self.top_k)
        if top_k is None or top_k < 0:
            raise ValueError(f"`top_k` is {self.top_k}; give the number of codes to sample from, 0 for all.")
        if not 0 < finite("top_p", self.top_p) <= 1:
            raise ValueError(f"`top_p` is {self.top_p}; give a share above 0, 1 for all codes.")

    def options(self) -> dict[str, float | int | bool]:
        """Return the arguments of transformers' `generate`."""
        return dict(vars(self)) if self.do_sample else {"do_sample": False}


@dataclass(frozen=True)
class Prior:
    """A language model, its tokens, and the origin of its codes.

    Args:
        model (`PreTrainedModel`): A `...ForCausalLM` model.
        tokens (`CodeTokens` or `UpsamplingTokens`): Tokens of the model.
        info (`CodesInfo`): Autoencoder that the codes belong to.
        score_tokenizer (`ScoreTokenizer`, *optional*): What the codes mean, if they are those of scores.
    """

    model: PreTrainedModel
    tokens: CodeTokens | UpsamplingTokens
    info: CodesInfo
    score_tokenizer: ScoreTokenizer | None = None

    @classmethod
    def from_pretrained(cls, pretrained_model_name_or_path: str | Path, *, revision: str | None = None) -> "Prior":
        """Load a model written by train_token_prior.py from a folder or the Hub, in evaluation mode.

        Raises:
            ValueError: The model is not a language model of codes; or see `load_checked`.
        """
        tokens, info = load_tokens(pretrained_model_name_or_path, revision=revision)
        model = load_checked(
            AutoModelForCausalLM,
            pretrained_model_name_or_path,
            revision=revision or "main",
            trust_remote_code=False,
        )
        if model.config.vocab_size != tokens.vocab_size:
            raise ValueError(
                f"{pretrained_model_name_or_path} has {model.config.vocab_size} ids, but its {TOKENS_FILE} describes "
                f"{tokens.vocab_size}; use an intact copy."
            )
        return cls(model, tokens, info, load_score_tokenizer(pretrained_model_name_or_path, revision=revision))

    @property
    def has_latents(self) -> bool:
        """Whether the model decodes latents, like `TokenVAE`."""
        return hasattr(self.model, "sample_latents")

    def check_autoencoder(self, autoencoder: AutoencoderModel) -> None:
        """Raise `ValueError` unless the codebooks and frame rates of the tokens are those of an autoencoder."""
        parts = (
            ((self.tokens.coarse_sizes, self.info.frame_rates[0]), (self.tokens.fine_sizes, self.info.frame_rates[1]))
            if isinstance(self.tokens, UpsamplingTokens)
            else ((self.tokens.codebook_sizes, self.info.frame_rates[0]),)
        )
        starts = self.info.levels or (0,)  # each level has one codebook
        for first, (sizes, frame_rate) in zip(starts, parts, strict=True):
            theirs = autoencoder.codebook_sizes[first : first + len(sizes)]
            rate = autoencoder.sampling_rate / autoencoder.codebook_hop_lengths[first]
            if sizes != theirs or not math.isclose(frame_rate, rate):
                raise ValueError(
                    f"the {TOKENS_FILE} of the language model describes codebooks of {sizes} codes at {frame_rate:g} "
                    f"Hz, but the autoencoder has {theirs} at {rate:g} Hz; use an intact copy."
                )


@torch.no_grad()
def generate_codes(
    prior: Prior,
    num_frames: int,
    *,
    known: Tensor | None = None,
    batch_size: int | None = None,
    latents: Tensor | None = None,
    sampling: Sampling | None = None,
    generator: torch.Generator | None = None,
    progress: Callable[[int], object] | None = None,
) -> Tensor:
    """Generate codes, or continue known codes.

    Sounds longer than the training crops of the model are generated in windows of that length. Each window continues
    the last half of the previous window. All windows of a `TokenVAE` have the same latents.

    Args:
        prior (`Prior`): Prior with `CodeTokens`.
        num_frames (`int`): Total number of frames, including known frames.
        known (`torch.Tensor` of shape `(batch, num_codebooks, frames)`, *optional*): Codes of the first frames.
        batch_size (`int`, *optional*): Number of items to generate; by default that of `known` or `latents`, or 1.
        latents (`torch.Tensor` of shape `(batch, latent_channels, num_latents)`, *optional*): Latents that a
            `TokenVAE` decodes; by default, drawn from its prior.
        sampling (`Sampling`, *optional*): Sampling options; default `Sampling()`.
        generator (`torch.Generator`, *optional*): Source of the seed. All items are sampled together, so the same seed
            gives different items for another batch size.
        progress (`Callable`, *optional*): Called with the number of new frames after each window.

    Returns:
        `torch.Tensor` of shape `(batch, num_codebooks, num_frames)`: Int64 codes on the CPU.

    Raises:
        ValueError: The model generates a finer level from a coarser level, there is nothing to generate, `known` does
            not fit the codebooks, batch sizes differ, or the windows are too short for the delays.
    """
    tokens = prior.tokens
    if isinstance(tokens, UpsamplingTokens):
        raise ValueError("this model generates a finer level from a coarser level; use `upsample_codes`.")
    if latents is not None and not prior.has_latents:
        raise ValueError(f"a {type(prior.model).__name__} has no latents; leave out `latents`, or use a TokenVAE.")
    if known is not None:
        tokens.check(known, batched=True)
    num_frames = count("num_frames", num_frames)
    batch_size = _batch_size(batch_size, known=known, latents=latents)
    empty = torch.zeros(batch_size, tokens.num_codebooks, 0, dtype=torch.int64)
    codes = empty if known is None else known.cpu().long()
    if num_frames <= codes.shape[2]:
        raise ValueError(f"`num_frames` is {num_frames}, {codes.shape[2]} are known; request more frames.")
    window = prior.info.segment_units
    overlap = window // 2
    if num_frames > window and window < tokens.shortest_window:
        raise ValueError(
            f"a window of {window} frames is too short for {tokens.num_codebooks} delayed codebooks; request at "
            f"most {window} frames, or train on longer crops."
        )
    window_frames = min(window, num_frames)
    language_model: Any = prior.model
    scores = prior.score_tokenizer
    rules = [] if scores is None else [ScoreConstraint(scores.next_codes())]
    with _seeded(generator):
        if latents is None and prior.has_latents:
            latents = language_model.sample_latents(len(codes))
        while codes.shape[2] < num_frames:
            start = max(min(codes.shape[2] - overlap, num_frames - window_frames), 0)
            ended = start + window_frames == num_frames
            # With delayed codebooks, the last frames of a window are incomplete unless the sound ends there.
            generated = _generate_window(
                prior.model,
                tokens,
                None,
                window_frames,
                codes[:, :, start:],
                sampling,
                ended=ended,
                latents=latents,
                rules=rules,
            )
            before, codes = codes.shape[2], torch.cat([codes[:, :, :start], generated], dim=2)
            if progress is not None:
                progress(codes.shape[2] - before)
    return codes


@torch.no_grad()
def upsample_codes(
    prior: Prior,
    coarse: Tensor,
    *,
    sampling: Sampling | None = None,
    generator: torch.Generator | None = None,
    progress: Callable[[int], object] | None = None,
) -> Tensor:
    """Generate the codes of a finer level from those of a coarser level, in windows that overlap by half.

    Args:
        prior (`Prior`): Prior with `UpsamplingTokens`.
        coarse (`torch.Tensor` of shape `(batch, num_codebooks, frames)`): Codes of the coarser level.
        sampling (`Sampling`, *optional*): Sampling options; default `Sampling()`.
        generator (`torch.Generator`, *optional*): Source of the seed.
        progress (`Callable`, *optional*): Called with the number of new frames after each window.

    Returns:
        `torch.Tensor` of shape `(batch, num_codebooks, fine frames)`: Int64 codes on the CPU.

    Raises:
        ValueError: The model has no `UpsamplingTokens`, `coarse` does not fit its coarse level, or the frames of
            `coarse` are not a whole number of fine frames.
    """
    tokens = prior.tokens
    if not isinstance(tokens, UpsamplingTokens):
        raise ValueError("this model generates a level without a coarser level; use `generate_codes`.")
    tokens.coarse.check(coarse, batched=True)
    per_coarse, per_fine = tokens.unit_frames
    units, rest = divmod(coarse.shape[2], per_coarse)
    if rest or not units:
        raise ValueError(f"`coarse` has {coarse.shape[2]} frames; a multiple of {per_coarse} is required.")
    coarse = coarse.cpu()
    window = min(prior.info.segment_units, units)
    fine = torch.zeros(len(coarse), tokens.fine.num_codebooks, 0, dtype=torch.int64)
    with _seeded(generator):
        while fine.shape[2] < units * per_fine:
            start = min(max(fine.shape[2] // per_fine - window // 2, 0), units - window)
            given = coarse[:, :, start * per_coarse : (start + window) * per_coarse]
            prompt = torch.stack([tokens.prompt(item) for item in given])
            known = fine[:, :, start * per_fine :]
            generated = _generate_window(
                prior.model, tokens.fine, prompt, window * per_fine, known, sampling, ended=True
            )
            before, fine = fine.shape[2], torch.cat([fine[:, :, : start * per_fine], generated], dim=2)
            if progress is not None:
                progress(fine.shape[2] - before)
    return fine


def generate_hierarchy(
    priors: Sequence[Prior],
    num_frames: int,
    *,
    batch_size: int | None = None,
    latents: Tensor | None = None,
    sampling: Sampling | None = None,
    generator: torch.Generator | None = None,
    progress: Callable[[int], object] | None = None,
) -> tuple[Tensor, ...]:
    """Generate levels of a hierarchy down to the finest, each finer level from the level before it.

    Args:
        priors (`Sequence[Prior]`): Prior of the coarsest generated level, then the upsampling priors, coarse to fine,
            down to level 0.
        num_frames (`int`): Number of frames of the first prior's level.
        batch_size (`int`, *optional*): Number of items to generate; by default that of `latents`, or 1.
        latents (`torch.Tensor`, *optional*): Latents of the first prior, see `generate_codes`.
        sampling (`Sampling`, *optional*): Sampling options; default `Sampling()`.
        generator (`torch.Generator`, *optional*): Source of the seeds.
        progress (`Callable`, *optional*): Called with the number of new frames after each window.

    Returns:
        Codes of each generated level, finest first. If all levels were generated, pass them to
        `HierarchicalVQVAE.decode`; otherwise pass the first one, with `level=0`.

    Raises:
        ValueError: The levels of the models are not consecutive down to level 0, their codebook sizes differ, or they
            belong to different autoencoders.
    """
    chain = [prior.info.levels for prior in priors]
    top = len(priors) - 1
    if chain != [(top,), *((level + 1, level) for level in reversed(range(top)))]:
        raise ValueError(
            f"the models have the levels {chain}; give the model of the coarsest level, then each finer one down to 0."
        )
    if any(fingerprint_differences(a.info.weights, b.info.weights) for a, b in pairwise(priors)):
        raise ValueError(
            "the models were trained on codes of different autoencoders; train them with the same autoencoder."
        )
    for coarser, finer in pairwise(prior.tokens for prior in priors):
        sizes = coarser.fine_sizes if isinstance(coarser, UpsamplingTokens) else coarser.codebook_sizes
        if not isinstance(finer, UpsamplingTokens) or finer.coarse_sizes != sizes:
            expected = finer.coarse_sizes if isinstance(finer, UpsamplingTokens) else "none"
            raise ValueError(
                f"a model generates codebooks of {sizes} codes, but the next one expects {expected}; train it with "
                f"these codes."
            )
    options: dict[str, Any] = {"sampling": sampling, "generator": generator, "progress": progress}
    codes = [generate_codes(priors[0], num_frames, batch_size=batch_size, latents=latents, **options)]
    for prior in priors[1:]:
        codes.insert(0, upsample_codes(prior, codes[0], **options))
    return tuple(codes)


def _generate_window(
    model: PreTrainedModel,
    tokens: CodeTokens,
    prompt: Tensor | None,
    num_frames: int,
    known: Tensor,
    sampling: Sampling | None,
    *,
    ended: bool,
    latents: Tensor | None = None,
    rules: Sequence[LogitsProcessor] = (),
) -> Tensor:
    """Generate `num_frames` frames, including known ones, (batch, num_codebooks, frames); complete frames only."""
    language_model: Any = model  # `generate` is a method of the subclass
    prompt = torch.full((len(known), 1), BOS) if prompt is None else prompt
    constraint = CodeConstraint(tokens, start=prompt.shape[1], num_frames=num_frames, known=known)
    low, high = tokens.bounds(num_frames, known)
    stop = low.shape[1] - 1  # without the end token
    if not ended and tokens.order == "delayed":
        stop = num_frames * tokens.num_codebooks
    determined = int(((high - low) == 1).all(dim=0)[:stop].long().cumprod(dim=0).sum())
    ids = torch.cat([prompt, low[:, :determined]], dim=1).to(model.device)
    if determined < stop:
        generated = language_model.generate(
            ids,
            attention_mask=torch.ones_like(ids),
            max_length=prompt.shape[1] + stop,
            logits_processor=[constraint, *rules],
            bos_token_id=BOS,
            eos_token_id=EOS,
            pad_token_id=PAD,
            **({} if latents is None else {"latents": latents}),
            **(sampling or Sampling()).options(),
        )
    else:
        generated = ids
    return torch.stack([tokens.decode(item) for item in generated[:, prompt.shape[1] :].cpu()])


def _batch_size(given: int | None, **tensors: Tensor | None) -> int:
    """Return the number of items of the tensors that are there; raises `ValueError` if another one is given."""
    sizes = {f"`{name}`": len(tensor) for name, tensor in tensors.items() if tensor is not None}
    if given is not None:
        sizes["`batch_size`"] = count("batch_size", given)
    if len(set(sizes.values())) > 1:
        listed = ", ".join(f"{name} has {size} items" for name, size in sizes.items())
        raise ValueError(f"{listed}; give as many of each, or leave out `batch_size`.")
    return next(iter(sizes.values()), 1)


@contextmanager
def _seeded(generator: torch.Generator | None) -> Iterator[None]:
    """Seed torch from `generator` and restore the global random state; do nothing without a generator."""
    with torch.random.fork_rng(enabled=generator is not None):
        if generator is not None:
            torch.manual_seed(int(torch.randint(2**62, (1,), generator=generator, device=generator.device)))
        yield
