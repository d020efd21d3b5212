"""Options and Opus excerpts of the corpus scripts."""

import io
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import chain
from pathlib import Path, PurePath
from statistics import mean, median
from typing import Annotated

import soundfile
from pydantic import BeforeValidator, Field
from torch import Tensor

from hf_audio_vae.audio.io import WRITE_BLOCK, AudioDecodeError, open_audio, read_audio
from hf_audio_vae.audio.resampling import resampled_length
from hf_audio_vae.data.clips import read_checked_crop
from hf_audio_vae.data.corpus import CorpusSummary, Sound, write_corpus
from hf_audio_vae.evaluation.metrics import bandwidth, mel_spectrogram_distance, multi_resolution_stft_distance
from hf_audio_vae.training.sections import Section

MEASURED_FILES, MEASURED_SECONDS = 200, 4  # the first files over all sources
OPUS_KBITS = (6.0, 256.0)  # mono bitrates at libsndfile's compression levels 1 and 0
SIZE_MARGIN = 0.9  # the bitrate is variable
SHARES = {"train": 0.8, "validation": 0.1, "test": 0.1}


class CompactOptions(Section):
    """Options of a small corpus: mono Opus excerpts of equal total length per source."""

    hours: float = Field(2.0, gt=0, description="total length of all splits")
    megabytes: float = Field(40.0, gt=0, description="target for the maximum size; the bitrate is variable")
    excerpt_seconds: float = Field(60.0, gt=0, description="maximum length of an excerpt")
    whole_files: bool = Field(
        False, description="cut whole files into excerpts; otherwise, take one from the middle of each file"
    )
    sampling_rate: int = Field(24000, description="8000, 12000, 16000, 24000 or 48000 Hz")


class CorpusConfig(Section):
    """Options of every corpus script."""

    output_dir: Path = Field(description="new folder of the corpus")
    shard_mib: float = Field(32.0, gt=0, description="size of a parquet file in MiB; a tenth of it in compact corpora")
    compact: Annotated[
        CompactOptions | None, BeforeValidator(lambda value: {} if value is True else value or None)
    ] = Field(None, description="write Opus excerpts instead of the original files")


@dataclass
class Degradation:
    """Difference between excerpts and their Opus files, one value per excerpt."""

    multi_resolution_stft: list[float] = field(default_factory=list)
    mel_distance: list[float] = field(default_factory=list)
    bandwidth_before: list[float] = field(default_factory=list)
    bandwidth_after: list[float] = field(default_factory=list)

    def add(self, original: Tensor, decoded: Tensor, sampling_rate: int) -> None:
        """Measure an original and its decoded file, (1, time) each, until enough files are measured."""
        if len(self.mel_distance) >= MEASURED_FILES:
            return
        length = min(original.shape[-1], decoded.shape[-1], MEASURED_SECONDS * sampling_rate)
        before, after = original[None, :, :length], decoded[None, :, :length]
        self.multi_resolution_stft.append(multi_resolution_stft_distance(after, before).item())
        self.mel_distance.append(mel_spectrogram_distance(after, before, sampling_rate).item())
        self.bandwidth_before.append(bandwidth(before, sampling_rate).item())
        self.bandwidth_after.append(bandwidth(after, sampling_rate).item())

    def __str__(self) -> str:
        return (
            f"Opus against the excerpts, {len(self.mel_distance)} files, {MEASURED_SECONDS} s of each: "
            f"multi-resolution STFT {mean(self.multi_resolution_stft):.3f}, "
            f"mel distance {mean(self.mel_distance):.3f}, "
            f"median bandwidth {median(self.bandwidth_before):.0f} -> {median(self.bandwidth_after):.0f} Hz"
        )


def build_corpus(
    config: CorpusConfig, splits: Mapping[str, Mapping[str, Iterable[Sound]]], title: str
) -> CorpusSummary:
    """Write a corpus and print its table.

    Args:
        config (`CorpusConfig`): Options.
        splits (`Mapping`): Sounds by split and source, in the order to write.
        title (`str`): Title of the data set card.

    Raises:
        ValueError: See `write_corpus`.
    """
    degradation = Degradation()
    sounds: dict[str, Iterator[Sound]] = {}
    for split, sources in splits.items():
        if config.compact is None:
            sounds[split] = chain.from_iterable(sources.values())
        else:
            share = SHARES[split] / sum(SHARES[other] for other in splits)
            sounds[split] = opus_excerpts(sources, share * 3600 * config.compact.hours, config.compact, degradation)
    shard_mib = config.shard_mib if config.compact is None else config.shard_mib / 10
    summary = write_corpus(config.output_dir, sounds, shard_mib=shard_mib, title=title)
    print(summary.table())
    for path, reason in summary.left_out.items():
        print(f"left out {path}: {reason}")
    if config.compact is not None:
        size = sum(path.stat().st_size for path in config.output_dir.rglob("*.parquet")) / 1e6
        print(f"{size:.1f} MB. {degradation}")
        if size > config.compact.megabytes:
            print(f"larger than `--compact.megabytes` {config.compact.megabytes:g}; lower that, or `--compact.hours`.")
    return summary


def opus_excerpts(
    sources: Mapping[str, Iterable[Sound]], seconds: float, options: CompactOptions, degradation: Degradation
) -> Iterator[Sound]:
    """Yield Opus excerpts until their total length is `seconds`, each from the source with the least so far.

    Args:
        sources (`Mapping[str, Iterable[Sound]]`): Sounds by source.
        seconds (`float`): Total length of all excerpts.
        options (`CompactOptions`): Length, sampling rate and size of the excerpts.
        degradation (`Degradation`): Collects the coding errors.
    """
    remaining = {source: iter(sounds) for source, sounds in sources.items()}
    taken = dict.fromkeys(remaining, 0.0)
    while remaining and sum(taken.values()) < seconds:
        source = min(remaining, key=lambda name: taken[name])
        sound = next(remaining[source], None)
        if sound is None:
            del remaining[source]
            continue
        try:
            for number, excerpt in enumerate(_excerpts(sound.read(), options)):  # (1, time)
                encoded = encode_opus(excerpt, options)
                degradation.add(excerpt, read_audio(encoded)[0], options.sampling_rate)
                taken[source] += excerpt.shape[-1] / options.sampling_rate
                suffix = f".{number:04d}.opus" if options.whole_files else ".opus"
                yield replace(sound, path=str(PurePath(sound.path).with_suffix(suffix)), read=partial(bytes, encoded))
        except AudioDecodeError as error:
            yield replace(sound, read=partial(_raise, error))  # the writer skips it and reports the reason


def encode_opus(waveform: Tensor, options: CompactOptions) -> bytes:
    """Encode mono (1, time) at the bitrate that fits the size."""
    kbits = SIZE_MARGIN * options.megabytes * 8e3 / (3600 * options.hours)
    low, high = OPUS_KBITS
    level = min(max((high - kbits) / (high - low), 0.0), 1.0)
    file = io.BytesIO()
    settings = {"format": "OGG", "subtype": "OPUS", "compression_level": level}
    with soundfile.SoundFile(file, "w", options.sampling_rate, 1, **settings) as encoder:
        for block in waveform[0].split(WRITE_BLOCK):
            encoder.write(block.numpy())
    return file.getvalue()


def _raise(error: AudioDecodeError) -> bytes:
    raise error


def _excerpts(encoded: bytes, options: CompactOptions) -> Iterator[Tensor]:
    with open_audio(encoded) as reader:
        time = resampled_length(reader, options.sampling_rate)
        count = min(time, round(options.excerpt_seconds * options.sampling_rate))
        # A remainder shorter than half an excerpt is left out.
        starts = range(0, max(time - count // 2, 1), max(count, 1)) if options.whole_files else [(time - count) // 2]
        for start in starts:
            length = min(count, time - start)
            yield read_checked_crop(reader, start, length, sampling_rate=options.sampling_rate, audio_channels=1)
