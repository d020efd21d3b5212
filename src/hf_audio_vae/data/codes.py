"""Random crops of codes as token sequences."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

import datasets
import numpy as np
import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from hf_audio_vae.data.streaming import BadItemError, ItemStream, Origin, StreamBatch

IGNORED = -100  # label that transformers losses ignore
LAST = "last"  # column: whether the row is the last of its item; without it, rows are whole items


class Tokens(Protocol):
    """Conversion of codes to token sequences: `CodeTokens` or `UpsamplingTokens`."""

    @property
    def unit_frames(self) -> tuple[int, ...]:
        """Frames of each part of an example in one unit."""

    def example(self, parts: Sequence[Tensor], *, ended: bool) -> tuple[Tensor, Tensor]:
        """Return ids and a mask of the ids to predict, (length,) each, for codes (num_codebooks, frames)."""


@dataclass(frozen=True)
class TokenCrop:
    """A training sequence.

    Args:
        ids (`torch.Tensor` of shape `(length,)`): Tokens.
        labels (`torch.Tensor` of shape `(length,)`): Tokens to predict, -100 at positions to ignore.
        units (`int`): Length of the crop in units of the tokens.
    """

    ids: Tensor
    labels: Tensor
    units: int


@dataclass
class TokenBatch(StreamBatch):
    """A batch of sequences, padded with id 0 at the end.

    Args:
        origin (`Origin`): Origin of the samples.
        input_ids (`torch.Tensor` of shape `(batch, length)`): Int64 tokens.
        labels (`torch.Tensor`, same shape): The same tokens; -100 in the padding and at positions to ignore.
        seconds (`float`): Total seconds of sound of all items.
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
    """Pad sequences to the longest and stack them; `unit_rate` is units per second."""
    return TokenBatch(
        origin,
        input_ids=pad_sequence([crop.ids for crop in crops], batch_first=True),
        labels=pad_sequence([crop.labels for crop in crops], batch_first=True, padding_value=IGNORED),
        seconds=sum(crop.units for crop in crops) / unit_rate,
    )


@dataclass(eq=False, kw_only=True)
class CodeStream(ItemStream[TokenCrop, TokenBatch]):
    """Endless batches of random crops of codes, as tokens, from a streamed data set.

    Options of batches, order and processes are those of `ItemStream`.

    Args:
        source (`datasets.IterableDataset`): From `load_latent_stream`.
        tokens (`Tokens`): Conversion of codes to token sequences.
        columns (`tuple[str, ...]`): Columns of codes, one for each part of an example of the tokens.
        unit_rate (`float`): Units per second: a unit is a frame, or the shortest span of whole frames of two levels.
        segment_units (`int`): Maximum units per crop; a shorter row is used whole.

    Raises:
        ValueError: A column is missing.
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
        """Units per crop."""
        return self.segment_units

    def name(self, example: Mapping[str, Any]) -> str:
        """Return the path of the item and the offset of the row in it."""
        return f"{example['path']} from sample {int(example['start_sample'])}"

    def read(self, example: Mapping[str, Any], seed: int) -> TokenCrop:
        """Return a random crop."""
        surplus = row_units(example, self.columns, self.tokens) - self.segment_units
        return self.crop(example, int(np.random.default_rng(seed).integers(surplus + 1)) if surplus > 0 else 0)

    def crop(self, example: Mapping[str, Any], start: int) -> TokenCrop:
        """Return the crop from unit `start` on; the sequence is ended if the crop includes the item's end.

        Raises:
            BadItemError: The row is too short for one unit, or holds invalid codes.
        """
        total = row_units(example, self.columns, self.tokens)
        if start >= total:
            raise BadItemError(f"it is too short for one whole frame of every level from unit {start} on.")
        stop = min(start + self.segment_units, total)
        parts = [
            torch.as_tensor(example[column])[start * frames : stop * frames].T.long()  # (num_codebooks, frames)
            for column, frames in zip(self.columns, self.tokens.unit_frames, strict=True)
        ]
        try:
            ids, target_mask = self.tokens.example(parts, ended=stop == total and bool(example.get(LAST, True)))
        except ValueError as error:
            raise BadItemError(str(error)) from error
        return TokenCrop(ids, ids.masked_fill(~target_mask, IGNORED), stop - start)

    def collate(self, samples: list[TokenCrop], origin: Origin) -> TokenBatch:
        """Pad and stack sequences."""
        return collate_crops(samples, origin, self.unit_rate)


def row_units(example: Mapping[str, Any], columns: Sequence[str], tokens: Tokens) -> int:
    """Return the number of whole units of the tokens in a row."""
    return min(len(example[column]) // frames for column, frames in zip(columns, tokens.unit_frames, strict=True))


def tokenize_dataset(
    dataset: datasets.Dataset, tokens: Tokens, columns: Sequence[str] = ("codes",)
) -> datasets.Dataset:
    """Convert rows of codes to training examples of language models, e.g. for the `Trainer` of transformers.

    The examples differ in length: pass `collate_tokens` to the trainer as `data_collator`; the collators of
    transformers need a tokenizer.

    Args:
        dataset (`datasets.Dataset`): Rows of codes, (frames, num_codebooks) per column, from encode_latents.py.
        tokens (`CodeTokens` or `UpsamplingTokens`): Conversion to tokens.
        columns (`Sequence[str]`): Columns of codes: one, or coarse and fine for upsampling.

    Returns:
        `datasets.Dataset` of `input_ids`, `attention_mask` and `labels`, a whole row each, not padded; a row that
        is not the last of its item (its `last` is false) has no end token.

    Raises:
        ValueError: A row holds codes that are invalid for these tokens, or a column is missing.
    """
    if missing := sorted(set(columns) - set(dataset.column_names)):
        raise ValueError(f"there are no columns {missing}; the data set has {sorted(dataset.column_names)}.")

    def sequence(example: Mapping[str, Any]) -> dict[str, list[int]]:
        units = row_units(example, columns, tokens)
        parts = [
            torch.as_tensor(np.asarray(example[column]))[: units * frames].T.long()
            for column, frames in zip(columns, tokens.unit_frames, strict=True)
        ]
        ids, target_mask = tokens.example(parts, ended=bool(example.get(LAST, True)))
        labels = ids.masked_fill(~target_mask, IGNORED)
        return {"input_ids": ids.tolist(), "attention_mask": [1] * len(ids), "labels": labels.tolist()}

    used_columns = [name for name in dataset.column_names if name in {*columns, LAST}]
    return dataset.select_columns(used_columns).map(sequence, remove_columns=used_columns)


def collate_tokens(rows: Sequence[Mapping[str, Any]]) -> dict[str, Tensor]:
    """Pad rows of `tokenize_dataset` to the longest at the end and stack them; a `data_collator` for a `Trainer`.

    Args:
        rows (`Sequence[Mapping]`): Each with `input_ids`, `attention_mask` and `labels`, lists or tensors (length,).

    Returns:
        Int64 tensors of shape (batch, length) by these names, padded with 0, `labels` with -100.
    """
    padding = {"input_ids": 0, "attention_mask": 0, "labels": IGNORED}
    return {
        name: pad_sequence([torch.as_tensor(row[name]) for row in rows], batch_first=True, padding_value=value)
        for name, value in padding.items()
    }
