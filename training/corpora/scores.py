"""Write a corpus of tokenised scores from the public-domain scores in music21, as codes for train_token_vae.py.

pip install "hf-audio-vae[scores]"
python training/corpora/scores.py --output_dir outputs/scores
"""

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import datasets
import torch
from pydantic import Field
from torch import Tensor

from hf_audio_vae.data import CodesRecord
from hf_audio_vae.data.code_records import code_features
from hf_audio_vae.data.corpus import new_folder
from hf_audio_vae.tokens.scores import TOKENIZER_FILE, ScoreTokenizer, split_pieces
from hf_audio_vae.training.config import parse_config
from hf_audio_vae.training.script import main_or_exit
from hf_audio_vae.training.sections import Section

TICKS = 480  # per quarter note
# Sets of music21 whose music is in the public domain and whose files state no restriction of their own.
SETS = {
    "ryansMammoth": "Ryan's Mammoth Collection (Boston, 1883), transcribed in ABC by contributors named in each file"
}
RESTRICTED = re.compile(rb"copyright|all rights reserved|non-?commercial|permission", re.IGNORECASE)


class ScoreCorpusConfig(Section):
    """Options of the corpus."""

    output_dir: Path = Field(description="new folder for `train` and `held_out`")
    sets: tuple[str, ...] = Field(tuple(SETS), description=f"sets of music21, of {', '.join(SETS)}")
    held_out_every: int = Field(10, ge=2, description="each of this many pieces is held out")
    max_pieces: int | None = Field(None, ge=2, description="use only the first pieces, up to this number")


def pieces_of(config: ScoreCorpusConfig) -> dict[str, Path]:
    """Return the files of the sets by name; files that state a restriction are left out, and their number printed."""
    if not config.sets:
        raise ValueError(f"`sets` is empty; give at least one of {', '.join(SETS)}.")
    if unknown := sorted(set(config.sets) - set(SETS)):
        raise ValueError(f"`sets` has {unknown}, whose license was not checked; use {', '.join(SETS)}.")
    try:
        from music21 import corpus
    except ImportError as error:
        raise ValueError('the corpus needs music21; install it with `pip install "hf-audio-vae[scores]"`.') from error
    paths = {f"{path.parent.name}/{path.name}": path for path in map(Path, corpus.getCorePaths())}
    paths = {name: path for name, path in paths.items() if path.parent.name in config.sets}
    free = {name: path for name, path in paths.items() if not RESTRICTED.search(path.read_bytes())}
    print(f"{len(paths) - len(free)} of {len(paths)} files left out, they state a restriction")
    return dict(sorted(free.items())[: config.max_pieces])


def score_of(path: Path) -> Any:
    """Read the notes of a piece as a `symusic.Score` of one track, with its first time signature, without repeats."""
    import symusic
    from music21 import converter

    stream = converter.parse(path)
    score: Any = symusic.Score(TICKS)  # its types are those of a factory, without attributes
    track: Any = symusic.Track()
    for element in stream.flatten().notes:
        start, duration = (round(TICKS * float(value)) for value in (element.offset, element.quarterLength))
        if duration > 0:  # no grace notes
            track.notes.extend(symusic.Note(start, duration, pitch.midi, 90) for pitch in element.pitches)
    for signature in list(stream.recurse().getElementsByClass("TimeSignature"))[:1]:
        score.time_signatures.append(symusic.TimeSignature(0, signature.numerator, signature.denominator))
    score.tracks.append(track)
    return score


def encoded(names: Sequence[str], paths: dict[str, Path], tokenizer: ScoreTokenizer) -> Iterator[tuple[str, Tensor]]:
    """Yield name and codes (1, length) of each piece; those that cannot be read are counted and printed."""
    failed: list[str] = []
    for name in names:
        try:
            codes = tokenizer.encode(score_of(paths[name]))
        except Exception as error:  # music21 raises its own errors, of many types
            failed.append(f"{name} ({type(error).__name__})")
            continue
        if codes.shape[1]:
            yield name, codes
    if failed:
        print(f"{len(failed)} pieces cannot be read: {', '.join(failed[:3])}")


def write_split(folder: Path, pieces: Sequence[tuple[str, Tensor]], tokenizer: ScoreTokenizer, model: str) -> None:
    """Write the codes of pieces with their record, which names a model; a code counts as a sample at 1 Hz."""
    size = tokenizer.codebook_size
    rows: list[dict[str, Any]] = [
        {"codes": codes.T.int().numpy(), "path": name, "start_sample": 0, "num_samples": codes.shape[1]}
        | {"frames": codes.shape[1], "last": True}
        for name, codes in pieces
    ]
    (folder / "data").mkdir(parents=True)
    dataset = datasets.Dataset.from_list(rows, features=code_features(["codes"], [1], {}))
    dataset.to_parquet(folder / "data/train-00000-000000.parquet")
    tokenizer.save(folder)
    counts = torch.bincount(torch.cat([codes[0] for _, codes in pieces]), minlength=size).tolist()
    CodesRecord(
        model=model,
        weights=tokenizer.fingerprint,
        family="ScoreTokenizer",
        sampling_rate=1,
        audio_channels=1,
        hop_lengths=[1],
        codebook_sizes=[[size]],
        hierarchical=False,
        source={"dataset_name": "music21"},
        items_per_file=len(rows),
        max_row_seconds=float(max(codes.shape[1] for _, codes in pieces)),
        rows=len(rows),
        items=len(rows),
        seconds=float(sum(counts)),
        code_counts=[counts],
    ).write(folder)


def main(argv: Sequence[str]) -> None:
    """Read, split and write the corpus, and print its table."""
    config = parse_config(ScoreCorpusConfig, argv)
    if config.output_dir.exists():
        raise ValueError(f"{config.output_dir} exists; remove it, or choose another `--output_dir`.")
    tokenizer, paths = ScoreTokenizer(), pieces_of(config)
    print("| split | pieces | codes |\n|---|---:|---:|")
    with new_folder(config.output_dir) as folder:
        for split, names in zip(("train", "held_out"), split_pieces(list(paths), config.held_out_every), strict=True):
            pieces = list(encoded(names, paths, tokenizer))
            if not pieces:
                raise ValueError(f"no piece for the split {split!r} can be read; raise `max_pieces`.")
            write_split(folder / split, pieces, tokenizer, str((config.output_dir / split / TOKENIZER_FILE).resolve()))
            print(f"| {split} | {len(pieces)} | {sum(codes.shape[1] for _, codes in pieces)} |")
    print("\n".join(f"{name}: {SETS[name]}" for name in config.sets))


if __name__ == "__main__":
    main_or_exit(main)
