"""Encoders from the audio of an item to dataset rows of posteriors or codes."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, Protocol, cast

import datasets
import torch
from torch import Tensor

from hf_audio_vae.audio.io import AudioDecodeError
from hf_audio_vae.data.code_records import CodesRecord, code_features
from hf_audio_vae.data.encoding_records import EncodingRecord
from hf_audio_vae.data.latent_records import LatentsRecord, latent_features
from hf_audio_vae.latents.storage import narrowed
from hf_audio_vae.models import AutoencoderModel, VariationalAutoencoderMixin
from hf_audio_vae.models.blocks import encode_blocks, encoding_needs_whole_signal
from hf_audio_vae.modules.distributions import DiagonalGaussian
from hf_audio_vae.training.encoding.tallies import Tally


class RowEncoder(Protocol):
    """Encodes the audio of an item into rows."""

    sampling_rate: int
    audio_channels: int
    hop_length: int

    @property
    def columns(self) -> Sequence[str]:
        """Columns of codes or of the posterior."""

    def features(self, others: Mapping[str, Any]) -> datasets.Features:
        """Return the columns of the rows, with the `others` of the source."""

    def rows(
        self, read: Callable[[int, int], Tensor], time: int, row_frames: int
    ) -> Iterator[tuple[dict[str, Tensor], int]]:
        """Encode the audio from `read`; yield columns, (frames, width), and frames, at most `row_frames`."""

    def measure(self, columns: Mapping[str, Tensor], tally: Tally) -> None:
        """Add the statistics of a row to the tally of its file."""


class PosteriorEncoder:
    """Encodes means and standard deviations of posteriors.

    Memory does not grow with the length of an item, unless latents depend on all of it.
    """

    def __init__(self, model: VariationalAutoencoderMixin, record: LatentsRecord) -> None:
        self.model, self.latent_channels = model, record.latent_channels
        self.sampling_rate, self.audio_channels = record.sampling_rate, record.audio_channels
        self.hop_length, self.dtype = record.hop_length, record.latents_dtype
        self.columns = ("mean", "std")

    def features(self, others: Mapping[str, Any]) -> datasets.Features:
        """Return `mean`, `std` and the other columns."""
        return latent_features(self.latent_channels, others, self.dtype)

    def rows(
        self, read: Callable[[int, int], Tensor], time: int, row_frames: int
    ) -> Iterator[tuple[dict[str, Tensor], int]]:
        """Yield `mean` and `std`, (frames, latent_channels); raise `AudioDecodeError` if they are not finite."""
        try:
            chunks = self._chunks(_for_model(self.model, read), time)
            for mean, std in _regrouped(([chunk.mean, chunk.std] for chunk in chunks), [1, 1], row_frames):
                # (1, latent_channels, frames) -> (frames, latent_channels)
                dtype = getattr(torch, self.dtype)
                columns = {name: narrowed(value[0].cpu().T, dtype) for name, value in (("mean", mean), ("std", std))}
                yield columns, mean.shape[-1]
        except AudioDecodeError:
            raise
        except ValueError as error:
            raise AudioDecodeError(f"the model cannot encode the item: {error}") from error

    def _chunks(self, read: Callable[[int, int], Tensor], time: int) -> Iterator[DiagonalGaussian]:
        if encoding_needs_whole_signal(self.model):
            yield self.model.encode(read(0, time)).latent_dist
        else:
            yield from self.model.encode_chunks(read, time)

    def measure(self, columns: Mapping[str, Tensor], tally: Tally) -> None:
        """Add the moments of each channel."""
        mean, std = (
            columns[name].T.float().contiguous() for name in self.columns
        )  # one order of summation for any layout
        tally.moments.add(mean, std)


class CodeEncoder:
    """Encodes codes of a model with codebooks, one column per level.

    Memory does not grow with the length of an item, unless an output of the model depends on all of it (an RNN, a norm
    over time): then, all samples are in memory, 11 MB per minute and channel at 48 kHz.
    """

    def __init__(self, model: AutoencoderModel, record: CodesRecord) -> None:
        self.model, self.record = model, record
        self.sampling_rate, self.audio_channels = record.sampling_rate, record.audio_channels
        self.hop_length = model.hop_length
        self.columns = record.columns

    def features(self, others: Mapping[str, Any]) -> datasets.Features:
        """Return the columns of codes and the other columns."""
        return code_features(self.record.columns, [len(sizes) for sizes in self.record.codebook_sizes], others)

    def rows(
        self, read: Callable[[int, int], Tensor], time: int, row_frames: int
    ) -> Iterator[tuple[dict[str, Tensor], int]]:
        """Yield the codes of each level, (frames, num_codebooks); raise `AudioDecodeError` if encoding fails."""
        read = _for_model(self.model, read)
        per_frame = [self.hop_length // hop_length for hop_length in self.record.hop_lengths]
        try:
            for levels in _regrouped(self._blocks(read, time), per_frame, row_frames):
                # (1, num_codebooks, steps) -> (steps, num_codebooks)
                columns = [level[0].T.int().cpu() for level in levels]
                yield dict(zip(self.record.columns, columns, strict=True)), len(columns[0]) // per_frame[0]
        except AudioDecodeError:
            raise
        except ValueError as error:
            raise AudioDecodeError(f"the model cannot encode the item: {error}") from error

    def _blocks(self, read: Callable[[int, int], Tensor], time: int) -> Iterator[list[Tensor]]:
        if not encoding_needs_whole_signal(self.model):
            yield from encode_blocks(self.model, read, time)
            return
        codes = self.model.encode(read(0, time)).audio_codes
        yield list(codes) if isinstance(codes, tuple) else [codes]

    def measure(self, columns: Mapping[str, Tensor], tally: Tally) -> None:
        """Count the codes of each codebook."""
        counts = [
            torch.bincount(columns[name][:, codebook], minlength=size).tolist()
            for name, sizes in zip(self.record.columns, self.record.codebook_sizes, strict=True)
            for codebook, size in enumerate(sizes)
        ]
        tally.count_codes(counts)


def row_encoder(model: AutoencoderModel, record: EncodingRecord) -> RowEncoder:
    """Return the row encoder for the type of a record."""
    if isinstance(record, CodesRecord):
        return CodeEncoder(model, record)
    if isinstance(record, LatentsRecord):
        return PosteriorEncoder(cast(VariationalAutoencoderMixin, model), record)
    raise ValueError(f"there is no row encoder for a {type(record).__name__}; use a record of latents or codes.")


def record_for(
    model: AutoencoderModel, settings: Mapping[str, Any], *, latents_dtype: str | None = None
) -> EncodingRecord:
    """Return the record of a data set before a model encodes it.

    Args:
        model (`AutoencoderModel`): Model with posteriors or with codebooks.
        settings (`Mapping`): Fields that are not derived from the model.
        latents_dtype (`str`, *optional*): Type of the numbers of latents in the files; default float16.

    Raises:
        ValueError: Hop lengths of the levels do not divide the model's, decoding needs more than the codes, or a type
            of latents is given for codes.
    """
    known: dict[str, Any] = {
        "family": type(model).__name__,
        "sampling_rate": model.sampling_rate,
        "audio_channels": model.config.audio_channels,
        **settings,
    }
    if not model.codebook_sizes:
        return LatentsRecord(
            hop_length=model.hop_length,
            latent_channels=cast(VariationalAutoencoderMixin, model).latent_channels,
            latents_dtype=latents_dtype or "float16",
            **known,
        )
    if latents_dtype is not None:
        raise ValueError(f"`latents_dtype` has no effect on the codes of a {type(model).__name__}; leave it out.")
    if model.codes_need_scales:
        raise ValueError(
            "the model divides each sound by its loudness, which is not part of the codes; use a model with "
            "`normalize` false."
        )
    by_level = model.codes_by_level
    sizes = [[size] for size in model.codebook_sizes] if by_level else [list(model.codebook_sizes)]
    hops = list(model.codebook_hop_lengths) if by_level else [model.hop_length]
    if any(model.hop_length % hop for hop in hops):
        raise ValueError(
            f"the hop lengths of the levels, {hops}, do not divide that of the model, {model.hop_length}."
        )
    return CodesRecord(hop_lengths=hops, codebook_sizes=sizes, hierarchical=by_level, **known)


def completed(record: EncodingRecord, total: Tally) -> EncodingRecord:
    """Return the record of a data set after all files are written.

    Raises:
        ValueError: The files have no rows.
    """
    if not total.rows:
        reasons = "; ".join(f"{name}: {reason}" for name, reason in list(total.skipped.items())[:3])
        raise ValueError(f"none of the items could be encoded. {reasons or 'The data set is empty.'}")
    outcome: dict[str, Any] = {name: getattr(total, name) for name in ("rows", "items", "seconds", "skipped")}
    if isinstance(record, LatentsRecord):
        outcome |= {"latents_mean": total.moments.mean.tolist(), "latents_std": total.moments.std.tolist()}
    else:
        outcome |= {"code_counts": total.code_counts}
    return replace(record, **outcome)


def _for_model(model: AutoencoderModel, read: Callable[[int, int], Tensor]) -> Callable[[int, int], Tensor]:
    return lambda start, stop: read(start, stop).to(model.device, model.dtype)


def _regrouped(blocks: Iterable[list[Tensor]], per_frame: Sequence[int], frames: int) -> Iterator[list[Tensor]]:
    """Yield the frames of all blocks in groups of `frames`; the tensors of a block have `per_frame` steps a frame."""
    pending: list[Tensor] = []
    for block in blocks:
        pending = [torch.cat(parts, dim=-1) for parts in zip(pending, block, strict=True)] if pending else block
        while pending[0].shape[-1] >= frames * per_frame[0]:
            yield [part[..., : frames * steps] for part, steps in zip(pending, per_frame, strict=True)]
            pending = [part[..., frames * steps :] for part, steps in zip(pending, per_frame, strict=True)]
    if pending and pending[0].shape[-1]:
        yield pending
