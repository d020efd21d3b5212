"""Task, training step and validation metrics of a language model of codes."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hf_audio_vae.data.code_records import CodesRecord
from hf_audio_vae.data.codes import IGNORED, TokenBatch
from hf_audio_vae.tokens import CodeTokens, UpsamplingTokens
from hf_audio_vae.tokens.code_tokens import FIRST_CODE, Order
from hf_audio_vae.training.objective import StepLosses


@dataclass(frozen=True)
class PriorTask:
    """The codes that a language model learns, and their tokens.

    Args:
        tokens (`CodeTokens` or `UpsamplingTokens`): Order of the tokens.
        levels (`tuple[int, ...]`): Levels of the codes, coarse first; the model learns the last one.
        columns (`tuple[str, ...]`): Columns of these levels.
        frame_rates (`tuple[float, ...]`): Frame rates of these levels in Hz.
        unit_rate (`float`): Units of the tokens per second.
        counts (`list[list[int]]`): Count of each code of each learnt codebook in the whole training data, also if only
            a part of it is used.
    """

    tokens: CodeTokens | UpsamplingTokens
    levels: tuple[int, ...]
    columns: tuple[str, ...]
    frame_rates: tuple[float, ...]
    unit_rate: float
    counts: list[list[int]]

    @property
    def learnt(self) -> CodeTokens:
        """Tokens of the learnt codes."""
        return self.tokens.fine if isinstance(self.tokens, UpsamplingTokens) else self.tokens

    @property
    def codes_per_second(self) -> float:
        """Number of learnt codes per second."""
        return self.learnt.num_codebooks * self.frame_rates[-1]

    def unigram_nats(self) -> Tensor:
        """Return the cost in nats of each id under a unigram model, (vocab_size,).

        Probabilities are the frequencies in the training data with add-1/2 smoothing (Krichevsky and Trofimov, 1981).
        """
        nats = torch.zeros(self.tokens.vocab_size)
        for codebook, counts in enumerate(self.counts):
            ids, smoothed = self.learnt.ids_of(codebook), torch.tensor(counts, dtype=torch.float64) + 0.5
            nats[ids.start : ids.stop] = -(smoothed / smoothed.sum()).log().float()
        return nats


def prior_task(
    record: CodesRecord, order: Order | None = None, level: int | None = None, upsample_from_level: int | None = None
) -> PriorTask:
    """Return the task for a data set of codes.

    Args:
        record (`CodesRecord`): Record of the training data.
        order (`str`, *optional*): Order of the tokens of a single level; `delayed` if not given.
        level (`int`, *optional*): Level of a hierarchy; the coarsest if not given.
        upsample_from_level (`int`, *optional*): Coarser level that conditions `level`.

    Raises:
        ValueError: The level does not exist.
    """
    count = len(record.hop_lengths)
    level = count - 1 if level is None else level
    levels = (level,) if upsample_from_level is None else (upsample_from_level, level)
    if max(levels) >= count:
        raise ValueError(f"there is no level {max(levels)}; the codes have the levels 0 (the finest) to {count - 1}.")
    sizes, hops = [record.codebook_sizes[i] for i in levels], [record.hop_lengths[i] for i in levels]
    unit_hop = math.lcm(*hops)
    tokens: CodeTokens | UpsamplingTokens
    if upsample_from_level is None:
        tokens = CodeTokens(tuple(sizes[0]), order or "delayed")
    else:
        tokens = UpsamplingTokens(tuple(sizes[0]), tuple(sizes[1]), (unit_hop // hops[0], unit_hop // hops[1]))
    return PriorTask(
        tokens=tokens,
        levels=levels if record.hierarchical else (),
        columns=tuple(record.columns[i] for i in levels),
        frame_rates=tuple(record.frame_rates[i] for i in levels),
        unit_rate=record.sampling_rate / unit_hop,
        counts=record.counts_of(level),
    )


@dataclass(frozen=True)
class TokenErrors:
    """Cross-entropies of a batch.

    Args:
        nats (`torch.Tensor` of shape `(batch, length - 1)`): Cross-entropy of each token but the first; 0 for ignored
            tokens.
        labels (`torch.Tensor`, same shape): The tokens; -100 for ignored tokens.
    """

    nats: Tensor
    labels: Tensor

    @classmethod
    def of(cls, logits: Tensor, labels: Tensor) -> "TokenErrors":
        """Compare predictions of the next token, (batch, length, vocab_size), with the tokens, (batch, length)."""
        predicted, labels = logits[:, :-1].float().transpose(1, 2), labels[:, 1:]
        return cls(F.cross_entropy(predicted, labels, ignore_index=IGNORED, reduction="none"), labels)

    @property
    def tokens(self) -> Tensor:
        """Number of tokens of each item, at least 1, (batch,)."""
        return (self.labels != IGNORED).sum(dim=1).clamp(min=1)

    @property
    def of_items(self) -> Tensor:
        """Mean over the tokens of each item, (batch,). An item's value does not depend on the rest of the batch."""
        return self.nats.sum(dim=1) / self.tokens

    @property
    def of_codes(self) -> Tensor:
        """Mean over the codes of all items, (), without blanks and ends, which cost almost nothing."""
        is_code = self.labels >= FIRST_CODE
        return torch.where(is_code, self.nats, 0.0).sum() / is_code.sum().clamp(min=1)


def language_model_step(model: nn.Module, batch: TokenBatch) -> TokenErrors:
    """Predict every token from the tokens before it.

    Padding comes last, so a causal model needs no mask. Attention without a mask uses its fastest kernel.

    Args:
        model (`torch.nn.Module`): A `...ForCausalLM`, possibly wrapped.
        batch (`TokenBatch`): Sequences on the model's device.

    Returns:
        `TokenErrors`: Cross-entropy of each token.
    """
    return TokenErrors.of(model(input_ids=batch.input_ids, use_cache=False).logits, batch.labels)


class TokenObjective:
    """Cross-entropy in nats per token, averaged per item and then over the batch.

    Args:
        model (`torch.nn.Module`): Language model prepared by accelerate.
    """

    def __init__(self, model: nn.Module) -> None:
        self.model = model

    def __call__(self, batch: TokenBatch, step: int) -> StepLosses:
        """Compute the loss of a batch."""
        errors = language_model_step(self.model, batch)
        loss = errors.of_items.mean()
        rates = {"bits_per_token": loss, "bits_per_code": errors.of_codes.detach()}
        return StepLosses({"model": loss}, {"loss": loss} | {name: r / math.log(2) for name, r in rates.items()})

    def end_step(self, measured: Mapping[str, list[float]]) -> None:
        """Do nothing."""

    def state_dict(self) -> dict[str, Any]:
        """Return an empty state."""
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Do nothing."""


class CodeCosts:
    """Mean cost of codes in nats, with the same weight for each codebook.

    Blanks and ends are excluded. In crops, the later codebooks of a delayed order have fewer codes.

    Args:
        tokens (`CodeTokens`): Tokens of the codes.
    """

    def __init__(self, tokens: CodeTokens) -> None:
        self.tokens = tokens
        self.codes, self.costs = (torch.zeros(tokens.num_codebooks, dtype=torch.float64) for _ in range(2))

    def add(self, nats: Tensor, labels: Tensor) -> None:
        """Add the cost of each token, and the tokens, (batch, length)."""
        for codebook, ids in enumerate(map(self.tokens.ids_of, range(self.tokens.num_codebooks))):
            mask = (labels >= ids.start) & (labels < ids.stop)
            self.codes[codebook] += mask.sum().cpu()
            self.costs[codebook] += nats[mask].double().sum().cpu()

    @property
    def nats(self) -> float:
        """Mean cost of a code; raises `ValueError` if a codebook has no codes."""
        if not bool(self.codes.all()):
            raise ValueError("the validation data set holds no codes of a codebook; check its path and split.")
        return (self.costs / self.codes).mean().item()


@torch.no_grad()
def prior_metrics(
    model: nn.Module, batches: Sequence[TokenBatch], task: PriorTask, device: torch.device
) -> dict[str, float]:
    """Return the mean cost of a held-out code under the model and under the unigram baseline, see `CodeCosts`.

    Args:
        model (`torch.nn.Module`): Language model.
        batches (`Sequence[TokenBatch]`): Batches from `first_crops`.
        task (`PriorTask`): Learnt codes and their tokens.
        device (`torch.device`): Device of the model.

    Raises:
        ValueError: There are no batches, or a codebook has no codes in them.
    """
    was_training = model.training
    model.eval()
    unigram_nats = task.unigram_nats().to(device)
    costs, baselines = CodeCosts(task.learnt), CodeCosts(task.learnt)
    for batch in batches:
        errors = language_model_step(model, batch.to(device))
        costs.add(errors.nats, errors.labels)
        baselines.add(unigram_nats[errors.labels.clamp(min=0)], errors.labels)
    model.train(was_training)
    nats, memoryless = costs.nats, baselines.nats
    return {
        "nats_per_code": nats,
        "memoryless_nats_per_code": memoryless,
        "code_loss_ratio": nats / memoryless,
        "bits_per_code": nats / math.log(2),
        "prior_bits_per_second": nats / math.log(2) * task.codes_per_second,
    }
