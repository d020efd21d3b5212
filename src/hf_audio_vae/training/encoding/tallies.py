"""What is counted while a data set is encoded, file by file."""

import json
from dataclasses import dataclass, field

from hf_audio_vae.latents import ChannelMoments


@dataclass
class Tally:
    """What a file holds.

    Args:
        rows (`int`): Its rows.
        items (`int`): Items of the source that they are made of.
        seconds (`float`): Seconds of sound.
        skipped (`dict[str, str]`): Items that could not be decoded, or only in part, with the reason.
        moments (`ChannelMoments`): Of its latents; empty where there are codes.
        code_counts (`list[list[int]]`): How often each code of each codebook is in it; empty where there are latents.
    """

    rows: int = 0
    items: int = 0
    seconds: float = 0.0
    skipped: dict[str, str] = field(default_factory=dict)
    moments: ChannelMoments = field(default_factory=ChannelMoments)
    code_counts: list[list[int]] = field(default_factory=list)

    def add(self, other: "Tally") -> None:
        """Take in another file's."""
        self.rows += other.rows
        self.items += other.items
        self.seconds += other.seconds
        self.skipped |= other.skipped
        self.moments.merge(other.moments)
        self.count_codes(other.code_counts)

    def count_codes(self, counts: list[list[int]]) -> None:
        """Take in how often each code of each codebook is in a row, or in a file; there may be none of it."""
        if not counts:
            return
        both = zip(self.code_counts, counts, strict=True) if self.code_counts else ()
        self.code_counts = [[a + b for a, b in zip(*pair, strict=True)] for pair in both] or counts

    def to_json(self) -> str:
        """Return it as text for a file's footer."""
        return json.dumps(vars(self) | {"moments": self.moments.state_dict()})

    @classmethod
    def from_json(cls, text: str | bytes) -> "Tally":
        """Read what `to_json` wrote."""
        values = json.loads(text)
        return cls(**values | {"moments": ChannelMoments.from_state_dict(values["moments"])})
