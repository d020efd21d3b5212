"""A language model of codes: what it is made from, what one step computes, and how it does on held-out codes."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from accelerate import Accelerator
from accelerate.logging import get_logger
from torch import Tensor, nn
from transformers import CONFIG_MAPPING, AutoModelForCausalLM, PreTrainedModel

from hf_audio_vae.data.code_records import CodesRecord
from hf_audio_vae.data.codes import IGNORED, CodeStream, TokenBatch, collate_crops
from hf_audio_vae.data.streaming import BadItemError, Origin, Position
from hf_audio_vae.latents import CodeTokens, UpsamplingTokens
from hf_audio_vae.latents.tokens import BOS, EOS, PAD, Order
from hf_audio_vae.training.objective import StepLosses

logger = get_logger(__name__)


@dataclass(frozen=True)
class PriorTask:
    """Which codes of a data set are to be written, and in what tokens.

    Args:
        tokens (`CodeTokens` or `UpsamplingTokens`): The order.
        levels (`tuple[int, ...]`): Levels that take part, coarse one first; the last one is learnt.
        columns (`tuple[str, ...]`): Their columns.
        frame_rates (`tuple[float, ...]`): Their frames a second.
        unit_rate (`float`): Units of the tokens a second.
        counts (`list[list[int]]`): How often each code of each codebook that is learnt is in the training data.
    """

    tokens: CodeTokens | UpsamplingTokens
    levels: tuple[int, ...]
    columns: tuple[str, ...]
    frame_rates: tuple[float, ...]
    unit_rate: float
    counts: list[list[int]]

    @property
    def learnt(self) -> CodeTokens:
        """Tokens of the codes that are learnt."""
        return self.tokens.fine if isinstance(self.tokens, UpsamplingTokens) else self.tokens

    @property
    def codes_per_second(self) -> float:
        """Codes that are learnt, a second."""
        return self.learnt.num_codebooks * self.frame_rates[-1]

    def memoryless_nats(self) -> Tensor:
        """Return what each id costs who knows how often each code is, and nothing of its neighbours: (vocab_size,).

        Shares are those of the training data with one more of every code, so that none is impossible.
        """
        nats = torch.zeros(self.tokens.vocab_size)
        for codebook, counts in enumerate(self.counts):
            ids, seen = self.learnt.ids_of(codebook), torch.tensor(counts, dtype=torch.float64) + 1
            nats[ids.start : ids.stop] = -(seen / seen.sum()).log().float()
        return nats


def prior_task(
    record: CodesRecord, order: Order, level: int | None = None, upsample_from_level: int | None = None
) -> PriorTask:
    """Settle what a data set of codes is modelled as.

    Args:
        record (`CodesRecord`): Of the training data.
        order (`str`): Of the tokens of a level by itself.
        level (`int`, *optional*): Level of a hierarchy; the coarsest if not given.
        upsample_from_level (`int`, *optional*): Coarser level that `level` is to follow on.

    Raises:
        ValueError: There is no such level.
    """
    count = len(record.hop_lengths)
    level = count - 1 if level is None else level
    levels = (level,) if upsample_from_level is None else (upsample_from_level, level)
    if max(levels) >= count:
        raise ValueError(f"the codes have {count} levels, there is no level {max(levels)}; the finest is 0.")
    sizes, hops = [record.codebook_sizes[i] for i in levels], [record.hop_lengths[i] for i in levels]
    unit = math.lcm(*hops)
    tokens: CodeTokens | UpsamplingTokens
    if upsample_from_level is None:
        tokens = CodeTokens(tuple(sizes[0]), order)
    else:
        tokens = UpsamplingTokens(tuple(sizes[0]), tuple(sizes[1]), (unit // hops[0], unit // hops[1]))
    return PriorTask(
        tokens=tokens,
        levels=levels if record.hierarchical else (),
        columns=tuple(record.columns[i] for i in levels),
        frame_rates=tuple(record.frame_rates[i] for i in levels),
        unit_rate=record.sampling_rate / unit,
        counts=record.counts_of(level),
    )


def new_prior(model_type: str, options: Mapping[str, Any], vocab_size: int, length: int) -> PreTrainedModel:
    """Make a causal language model with random weights.

    Args:
        model_type (`str`): A name that transformers' `AutoConfig` knows.
        options (`Mapping`): Options of its configuration.
        vocab_size (`int`): Ids there are.
        length (`int`): Longest sequence it has to read; its context, if `options` does not say.

    Raises:
        ValueError: There is no such type, it has no such option, or its context is too short.
    """
    if model_type not in CONFIG_MAPPING:
        raise ValueError(f"`model_type` {model_type!r} is not known to transformers; it knows gpt2, llama, and more.")
    config_class = CONFIG_MAPPING[model_type]
    aliases = config_class.attribute_map
    known = {*vars(config_class()), *aliases}
    if unknown := sorted(set(options) - known):
        raise ValueError(f"a {model_type} takes no {', '.join(unknown)}; it takes {', '.join(sorted(known))}.")
    special: dict[str, Any] = {"vocab_size": vocab_size, "bos_token_id": BOS, "eos_token_id": EOS, "pad_token_id": PAD}
    context = "max_position_embeddings"
    given = {context, aliases.get(context, context)} & set(options)
    if context in known and not given:
        special[aliases.get(context, context)] = length
    config = config_class(**special, **options)
    if context in known and getattr(config, context) < length:
        raise ValueError(
            f"the model reads {getattr(config, context)} tokens, a crop has {length}; raise `{context}`, or lower "
            f"`segment_seconds`."
        )
    model = AutoModelForCausalLM.from_config(config)
    model.generation_config.update(do_sample=True, max_length=length)
    return model


@dataclass(frozen=True)
class TokenErrors:
    """How well a batch was foretold.

    Args:
        nats (`torch.Tensor` of shape `(batch, length - 1)`): What each token but the first costs; 0 where there is
            nothing to learn.
        labels (`torch.Tensor`, same shape): The tokens; -100 where there is nothing to learn.
    """

    nats: Tensor
    labels: Tensor

    @property
    def of_items(self) -> Tensor:
        """Mean of each item's tokens, (batch,): each item counts alike, whatever else is in the batch."""
        return self.nats.sum(dim=1) / (self.labels != IGNORED).sum(dim=1).clamp(min=1)


def language_model_step(model: nn.Module, batch: TokenBatch) -> TokenErrors:
    """Let a causal language model foretell every token from those before it.

    Padding is behind what it pads, where a causal model does not look: there is no need of a mask.

    Args:
        model (`torch.nn.Module`): A `...ForCausalLM`, possibly wrapped.
        batch (`TokenBatch`): Sequences on the model's device.

    Returns:
        `TokenErrors`: Of each token.
    """
    logits = model(input_ids=batch.input_ids, use_cache=False).logits[:, :-1].float()
    labels = batch.labels[:, 1:]
    nats = F.cross_entropy(logits.transpose(1, 2), labels, ignore_index=IGNORED, reduction="none")
    return TokenErrors(nats, labels)


class TokenObjective:
    """Nats a token, each item of a batch alike.

    Args:
        model (`torch.nn.Module`): Language model prepared by accelerate.
    """

    def __init__(self, model: nn.Module) -> None:
        self.model = model

    def __call__(self, batch: TokenBatch, step: int) -> StepLosses:
        """Compute a batch's loss."""
        errors = language_model_step(self.model, batch)
        loss, nats = errors.of_items.mean(), errors.nats.detach().sum()
        rates = {"bits_per_token": loss / math.log(2), "bits_per_second": nats / math.log(2) / batch.seconds}
        return StepLosses({"model": loss}, {"loss": loss, **rates})

    def end_step(self, accelerator: Accelerator, *, taken: bool) -> None:
        """Nothing changes from step to step."""

    def state_dict(self) -> dict[str, Any]:
        """Return nothing."""
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Expect nothing."""


def first_sequences(stream: CodeStream, count: int) -> list[TokenBatch]:
    """Take the start of `count` rows, a batch each: the first in the stream's order, without those that are bad."""
    batches: list[TokenBatch] = []
    for example in stream.shuffled(stream.source, 0):
        if len(batches) == count:
            break
        try:
            crop = stream.crop(example, 0)
        except BadItemError as error:
            logger.warning(f"passed over {stream.name(example)}: {error}")
            continue
        origin = Origin([stream.name(example)], [0], 0, Position())
        batches.append(collate_crops([crop], origin, stream.unit_rate))
    return batches


@torch.no_grad()
def prior_metrics(
    model: nn.Module, batches: Sequence[TokenBatch], task: PriorTask, device: torch.device
) -> dict[str, float]:
    """Return what a held-out code costs the model, and what it costs who knows no neighbours.

    Blanks and ends, which cost next to nothing, are left out of account.

    Args:
        model (`torch.nn.Module`): Language model.
        batches (`Sequence[TokenBatch]`): From `first_sequences`.
        task (`PriorTask`): What is modelled.
        device (`torch.device`): Where the model is.

    Raises:
        ValueError: There are no batches.
    """
    if not batches:
        raise ValueError("the data set for validation holds no codes; check its path and split.")
    was_training = model.training
    model.eval()
    costs, guesses, codes = 0.0, 0.0, 0
    guess = task.memoryless_nats().to(device)
    for batch in batches:
        errors = language_model_step(model, batch.to(device))
        is_code = errors.labels >= task.learnt.first_id
        costs += errors.nats[is_code].double().sum().item()
        guesses += guess[errors.labels[is_code]].double().sum().item()
        codes += int(is_code.sum())
    model.train(was_training)
    nats, memoryless = costs / codes, guesses / codes
    return {
        "nats_per_code": nats,
        "memoryless_nats_per_code": memoryless,
        "code_loss_ratio": nats / memoryless,
        "bits_per_code": nats / math.log(2),
        "prior_bits_per_second": nats / math.log(2) * task.codes_per_second,
    }
