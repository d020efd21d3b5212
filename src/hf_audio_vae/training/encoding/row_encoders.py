"""Encoders from the audio of an item to dataset rows of posteriors or codes."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, Protocol, cast

import datasets
import torch
from torch import Tensor

from hf_audio_vae.audio.io import AudioDecodeError
from hf_audio_vae.data.code_records import CodesRecord, code_features
from hf_audio_vae.data.encoding_records import EncodingRecord
from hf_audio_vae.data.latent_records import LatentsRecord, latent_features
from hf_audio_vae.models import AutoencoderModel, VariationalAutoencoderMixin
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
    """Encodes means and standard deviations of posteriors. Memory does not grow with the length of an item."""

    def __init__(self, model: VariationalAutoencoderMixin, record: LatentsRecord) -> None:
        self.model, self.latent_channels = model, record.latent_channels
        self.sampling_rate, self.audio_channels = record.sampling_rate, record.audio_channels
        self.hop_length = record.hop_length
        self.columns = ("mean", "std")

    def features(self, others: Mapping[str, Any]) -> datasets.Features:
        """Return `mean`, `std` and the other columns."""
        return latent_features(self.latent_channels, others)

    def rows(
        self, read: Callable[[int, int], Tensor], time: int, row_frames: int
    ) -> Iterator[tuple[dict[str, Tensor], int]]:
        """Yield `mean` and `std`, (frames, latent_channels); raise `AudioDecodeError` if they are not finite."""

        def read_for_model(start: int, stop: int) -> Tensor:
            return read(start, stop).to(self.model.device, self.model.dtype)

        try:
            for posterior in _regrouped(self.model.encode_chunks(read_for_model, time), row_frames):
                # (1, latent_channels, frames) -> (frames, latent_channels)
                mean, std = (value[0].float().cpu().T for value in (posterior.mean, posterior.std))
                yield {"mean": mean, "std": std}, len(mean)
        except AudioDecodeError:
            raise
        except ValueError as error:
            raise AudioDecodeError(f"the model cannot encode the item: {error}") from error

    def measure(self, columns: Mapping[str, Tensor], tally: Tally) -> None:
        """Add the moments of each channel."""
        mean, std = (columns[name].T.contiguous() for name in self.columns)  # one order of summation for any layout
        tally.moments.add(mean, std)


class CodeEncoder:
    """Encodes codes of a model with codebooks, one column per level.

    All samples and codes of an item are in memory at once, 11 MB per minute and channel at 48 kHz. With tiling, the
    layers process one tile at a time. Split recordings of many hours before.
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
        waveform = read(0, time).to(self.model.device, self.model.dtype)
        try:
            codes = self.model.encode(waveform).audio_codes
        except ValueError as error:
            raise AudioDecodeError(f"the model cannot encode the item: {error}") from error
        levels = [level[0].T.int().cpu() for level in (codes if isinstance(codes, tuple) else (codes,))]
        frames = -(-time // self.hop_length)
        per_frame = [self.hop_length // hop_length for hop_length in self.record.hop_lengths]
        for start in range(0, frames, row_frames):
            stop = min(start + row_frames, frames)
            named = zip(self.record.columns, levels, per_frame, strict=True)
            yield {name: level[start * n : stop * n] for name, level, n in named}, stop - start

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


def record_for(model: AutoencoderModel, settings: Mapping[str, Any]) -> EncodingRecord:
    """Return the record of a data set before a model encodes it.

    Args:
        model (`AutoencoderModel`): Model with posteriors or with codebooks.
        settings (`Mapping`): Fields that are not derived from the model.

    Raises:
        ValueError: Hop lengths of the levels do not divide the model's, or decoding needs more than the codes.
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
            **known,
        )
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


def _regrouped(chunks: Iterator[DiagonalGaussian], frames: int) -> Iterator[DiagonalGaussian]:
    """Yield the frames of all chunks in groups of `frames`."""
    pending: list[Tensor] = []
    for chunk in chunks:
        pending = [torch.cat([*pending, torch.cat([chunk.mean, chunk.std], dim=1)], dim=-1)]
        while pending[0].shape[-1] >= frames:
            yield DiagonalGaussian(*pending[0][..., :frames].chunk(2, dim=1))
            pending = [pending[0][..., frames:]]
    if pending and pending[0].shape[-1]:
        yield DiagonalGaussian(*pending[0].chunk(2, dim=1))
