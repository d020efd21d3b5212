"""Counts, statistics and items of an encoded data set, file by file."""

import json
from dataclasses import dataclass, field
from typing import NamedTuple

from hf_audio_vae.latents import ChannelMoments


class Item(NamedTuple):
    """An item of the source, as far as its rows depend on it.

    Args:
        name (`str`): Path relative to the source, or another name of the item.
        audio (`str`): SHA-256 of its encoded audio.
        others (`str`): SHA-256 of its other columns.
    """

    name: str
    audio: str
    others: str


@dataclass
class Tally:
    """Counts, statistics and items of a file.

    Args:
        rows (`int`): Number of rows.
        items (`int`): Number of encoded items of the source.
        seconds (`float`): Seconds of audio.
        bad_items (`int`): Number of items that could not be decoded, at least in part.
        skipped (`dict[str, str]`): Names of items that could not be decoded, at least in part, with the reason.
        moments (`ChannelMoments`): Moments of the latents; empty for codes.
        code_counts (`list[list[int]]`): Count of each code of each codebook; empty for latents.
        made_of (`list[tuple[Item, int]]`): Items of the source in their order, with the number of their rows.
    """

    rows: int = 0
    items: int = 0
    seconds: float = 0.0
    bad_items: int = 0
    skipped: dict[str, str] = field(default_factory=dict)
    moments: ChannelMoments = field(default_factory=ChannelMoments)
    code_counts: list[list[int]] = field(default_factory=list)
    made_of: list[tuple[Item, int]] = field(default_factory=list)

    def add(self, other: "Tally") -> None:
        """Add the tally of another file."""
        self.rows += other.rows
        self.items += other.items
        self.seconds += other.seconds
        self.bad_items += other.bad_items
        self.skipped |= other.skipped
        self.moments.merge(other.moments)
        self.count_codes(other.code_counts)
        self.made_of += other.made_of

    def count_codes(self, counts: list[list[int]]) -> None:
        """Add the count of each code of each codebook in a row or a file; `counts` may be empty."""
        if not counts:
            return
        pairs = zip(self.code_counts, counts, strict=True) if self.code_counts else ()
        self.code_counts = [[a + b for a, b in zip(*pair, strict=True)] for pair in pairs] or counts

    def to_json(self) -> str:
        """Return the tally as JSON for the footer of a file."""
        return json.dumps(vars(self) | {"moments": self.moments.state_dict()})

    @classmethod
    def from_json(cls, text: str | bytes) -> "Tally":
        """Parse the output of `to_json`."""
        values = json.loads(text)
        moments = ChannelMoments.from_state_dict(values["moments"])
        made_of = [(Item(*item), rows) for item, rows in values.get("made_of", [])]  # version 0.1 has none
        return cls(**values | {"moments": moments, "made_of": made_of})
