"""Random crops of codes as sequences of tokens."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

import datasets
import numpy as np
import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from hf_audio_vae.data.streaming import BadItemError, ItemStream, Origin, StreamBatch

IGNORED = -100  # the label that losses of transformers leave out
LAST = "last"  # column that tells whether an item ends with a row; where there is none, rows are whole items


class Tokens(Protocol):
    """What makes sequences of codes: `CodeTokens` or `UpsamplingTokens`."""

    @property
    def unit_frames(self) -> tuple[int, ...]:
        """Frames of each part of an example in its shortest stretch."""

    def example(self, parts: Sequence[Tensor], *, ended: bool) -> tuple[Tensor, Tensor]:
        """Return ids and which of them to learn, (length,) each, of codes (num_codebooks, frames)."""


@dataclass(frozen=True)
class TokenCrop:
    """A sequence to learn.

    Args:
        ids (`torch.Tensor` of shape `(length,)`): Tokens.
        labels (`torch.Tensor` of shape `(length,)`): Those to predict, -100 where there is nothing to learn.
        units (`int`): How much sound it is, in the tokens' units.
    """

    ids: Tensor
    labels: Tensor
    units: int


@dataclass
class TokenBatch(StreamBatch):
    """Sequences on their way to a training step, shorter ones padded with id 0 at the end.

    Args:
        origin (`Origin`): Where they come from.
        input_ids (`torch.Tensor` of shape `(batch, length)`): Int64 tokens.
        labels (`torch.Tensor`, same shape): The same tokens; -100 in the padding and where nothing is to be learnt.
        seconds (`float`): Seconds of sound in all items together.
    """

    input_ids: Tensor
    labels: Tensor
    seconds: float

    def to(self, device: torch.device) -> "TokenBatch":
        """Return the batch on another device."""
        return self._with_tensors(lambda tensor: tensor.to(device, non_blocking=True))

    def pin_memory(self) -> "TokenBatch":
        """Return the batch in page-locked memory; the `DataLoader` calls this."""
        return self._with_tensors(Tensor.pin_memory)

    def _with_tensors(self, change: Callable[[Tensor], Tensor]) -> "TokenBatch":
        return replace(self, input_ids=change(self.input_ids), labels=change(self.labels))


def collate_crops(crops: Sequence[TokenCrop], origin: Origin, unit_rate: float) -> TokenBatch:
    """Pad sequences to the longest and put them together; `unit_rate` is units a second."""
    return TokenBatch(
        origin,
        input_ids=pad_sequence([crop.ids for crop in crops], batch_first=True),
        labels=pad_sequence([crop.labels for crop in crops], batch_first=True, padding_value=IGNORED),
        seconds=sum(crop.units for crop in crops) / unit_rate,
    )


@dataclass(eq=False, kw_only=True)
class CodeStream(ItemStream[TokenCrop, TokenBatch]):
    """Batches of random crops of codes, as tokens, from a streamed data set, without end.

    Args:
        source (`datasets.IterableDataset`): From `load_latent_stream`.
        tokens (`Tokens`): What makes sequences of codes.
        columns (`tuple[str, ...]`): Columns of codes, one for each part of the tokens' examples.
        unit_rate (`float`): Units of the tokens a second: frames, or the shortest whole stretches of two levels.
        segment_units (`int`): Units a crop, at most: a shorter row is taken whole.
        batch_size, seed, shuffle_buffer_size, rank, world_size, max_items, max_bad_share: As `ItemStream`.

    Raises:
        ValueError: There is no such column.
    """

    tokens: Tokens
    columns: tuple[str, ...]
    unit_rate: float
    segment_units: int

    def __post_init__(self) -> None:
        super().__post_init__()
        if missing := sorted(set(self.columns) - set(self.source.features)):
            raise ValueError(f"there are no columns {missing}; the data set has {sorted(self.source.features)}.")

    @property
    def segment_length(self) -> int:
        """Units a crop."""
        return self.segment_units

    def name(self, example: Mapping[str, Any]) -> str:
        """Return the path of the item, and where in it the row starts."""
        return f"{example['path']} from sample {int(example['start_sample'])}"

    def read(self, example: Mapping[str, Any], seed: int) -> TokenCrop:
        """Cut one crop."""
        surplus = row_units(example, self.columns, self.tokens) - self.segment_units
        return self.crop(example, int(np.random.default_rng(seed).integers(surplus + 1)) if surplus > 0 else 0)

    def crop(self, example: Mapping[str, Any], start: int) -> TokenCrop:
        """Cut the crop that begins at unit `start`; where it takes in the item's end, it ends the sequence.

        Raises:
            BadItemError: The row is too short for one unit, or holds what is no code.
        """
        total = row_units(example, self.columns, self.tokens)
        if not total:
            raise BadItemError("it is too short for one whole frame of every level.")
        stop = min(start + self.segment_units, total)
        parts = [
            torch.as_tensor(example[column])[start * frames : stop * frames].T.long()  # (num_codebooks, frames)
            for column, frames in zip(self.columns, self.tokens.unit_frames, strict=True)
        ]
        try:
            ids, learnt = self.tokens.example(parts, ended=stop == total and bool(example.get(LAST, True)))
        except ValueError as error:
            raise BadItemError(str(error)) from error
        return TokenCrop(ids, ids.masked_fill(~learnt, IGNORED), stop - start)

    def collate(self, samples: list[TokenCrop], origin: Origin) -> TokenBatch:
        """Pad and stack sequences."""
        return collate_crops(samples, origin, self.unit_rate)


def row_units(example: Mapping[str, Any], columns: Sequence[str], tokens: Tokens) -> int:
    """Return how many units of the tokens a row has; what is left of a unit at its end does not count."""
    return min(len(example[column]) // frames for column, frames in zip(columns, tokens.unit_frames, strict=True))


def tokenize_dataset(
    dataset: datasets.Dataset, tokens: Tokens, columns: Sequence[str] = ("codes",)
) -> datasets.Dataset:
    """Turn rows of codes into what language models train on, for transformers' own `Trainer`, say.

    They differ in length: give the trainer `collate_tokens` as its `data_collator`; those of transformers want a
    tokenizer.

    Args:
        dataset (`datasets.Dataset`): Rows of codes, (frames, num_codebooks) a column, as encode_latents.py writes.
        tokens (`CodeTokens` or `UpsamplingTokens`): The order.
        columns (`Sequence[str]`): Columns of codes: one, or for upsampling the coarse and the fine level's.

    Returns:
        `datasets.Dataset` of `input_ids`, `attention_mask` and `labels`, a whole row each, not padded; a row whose
        item goes on in the next one (its `last` is false) has no end.

    Raises:
        ValueError: A row holds what is no code of these tokens, or there is no such column.
    """
    if missing := sorted(set(columns) - set(dataset.column_names)):
        raise ValueError(f"there are no columns {missing}; the data set has {sorted(dataset.column_names)}.")

    def sequence(example: Mapping[str, Any]) -> dict[str, list[int]]:
        units = row_units(example, columns, tokens)
        parts = [
            torch.as_tensor(np.asarray(example[column]))[: units * frames].T.long()
            for column, frames in zip(columns, tokens.unit_frames, strict=True)
        ]
        ids, learnt = tokens.example(parts, ended=bool(example.get(LAST, True)))
        labels = ids.masked_fill(~learnt, IGNORED)
        return {"input_ids": ids.tolist(), "attention_mask": [1] * len(ids), "labels": labels.tolist()}

    used = [name for name in dataset.column_names if name in {*columns, LAST}]
    return dataset.select_columns(used).map(sequence, remove_columns=used)


def collate_tokens(rows: Sequence[Mapping[str, Any]]) -> dict[str, Tensor]:
    """Pad rows of `tokenize_dataset` to the longest at the end and stack them; a `data_collator` for a `Trainer`.

    Args:
        rows (`Sequence[Mapping]`): Each with `input_ids`, `attention_mask` and `labels`, lists or tensors (length,).

    Returns:
        These names with int64 tensors of shape (batch, length); in the padding 0, of `labels` -100.
    """
    padding = {"input_ids": 0, "attention_mask": 0, "labels": IGNORED}
    return {
        name: pad_sequence([torch.as_tensor(row[name]) for row in rows], batch_first=True, padding_value=value)
        for name, value in padding.items()
    }
