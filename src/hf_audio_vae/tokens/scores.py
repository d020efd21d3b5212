"""Scores (MIDI) as codes of one codebook, by a tokenizer of miditok, which is optional."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import LogitsProcessor

from hf_audio_vae.files.fingerprints import values_fingerprint
from hf_audio_vae.tokens.code_tokens import FIRST_CODE, CodeTokens

TOKENIZER_FILE = "score_tokenizer.json"  # of miditok, beside the weights of a model and in the folder of a corpus
INSTALL = "install it with `pip install hf-audio-vae[midi]`"


class ScoreTokenizer:
    """Converts scores to codes and back: REMI (Huang & Yang, 2020, arXiv:2002.00212) without velocities and programs.

    A note is three codes: position in the bar, pitch and duration. Bars have a time signature.

    Args:
        path (`str` or `Path`, *optional*): File of a saved tokenizer; by default, a new one.

    Raises:
        ValueError: miditok is not installed, or the file is none of its tokenizers.
    """

    def __init__(self, path: str | Path | None = None) -> None:
        try:
            import miditok
        except ImportError as error:
            raise ValueError(f"scores need the package miditok, which is missing; {INSTALL}.") from error
        if path is None:
            config = miditok.TokenizerConfig(
                special_tokens=[],
                use_velocities=False,
                use_pitchdrum_tokens=False,
                beat_res={(0, 4): 12},  # divides into 16ths and triplets
                pitch_range=(36, 97),
                use_time_signatures=True,
            )
            self.miditok: Any = miditok.REMI(config)
            return
        try:
            self.miditok = miditok.REMI(params=Path(path))
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"{path} is not a tokenizer of miditok: {' '.join(str(error).split())}.") from error

    @property
    def codebook_size(self) -> int:
        """Number of codes."""
        return len(self.miditok)

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the codes and what each means."""
        return values_fingerprint(self.miditok.vocab)

    def save(self, folder: Path) -> None:
        """Write the tokenizer into a folder."""
        self.miditok.save(folder, filename=TOKENIZER_FILE)

    def encode(self, score: Any) -> Tensor:
        """Return the codes of a `symusic.Score`, or of the file of a score, (1, length); of its first track."""
        tracks = self.miditok(score)
        sequences = tracks if isinstance(tracks, list) else [tracks]
        return torch.tensor([sequences[0].ids if sequences else []], dtype=torch.int64)

    def decode(self, codes: Tensor) -> Any:
        """Return the `symusic.Score` of codes (1, length); a note that is not complete is left out."""
        return self.miditok.decode([codes[0].tolist()])

    def next_codes(self) -> Tensor:
        """Return which code may follow which one, by their kinds, bool (codebook_size, codebook_size)."""
        kinds = [self._kind(code) for code in range(self.codebook_size)]
        graph = self.miditok.tokens_types_graph
        return torch.tensor([[other in graph.get(kind, ()) and other != "PAD" for other in kinds] for kind in kinds])

    def _kind(self, code: int) -> str:
        return str(self.miditok[code]).split("_", 1)[0]


class ScoreConstraint(LogitsProcessor):
    """Restricts `generate` to codes whose kind may follow the previous one's, such as a duration after a pitch.

    It follows a `CodeConstraint`, which restricts to codes. The end may follow every code, and every code may be the
    first.

    Args:
        next_codes (`torch.Tensor` of shape `(codebook_size, codebook_size)`): From `ScoreTokenizer.next_codes`.

    Example:
        >>> constraint = ScoreConstraint(torch.tensor([[False, True], [True, False]]))
        >>> scores = constraint(torch.tensor([[1, 5]]), torch.zeros(1, 7))
        >>> scores.isfinite().nonzero()[:, 1].tolist()  # special ids, and the second code after the first one
        [0, 1, 2, 3, 4, 6]
    """

    def __init__(self, next_codes: Tensor) -> None:
        self.next_codes = next_codes

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        """Set the scores, (batch, vocab_size), of codes that may not follow to minus infinity."""
        allowed = torch.ones_like(scores, dtype=torch.bool)
        previous = input_ids[:, -1] - FIRST_CODE
        is_code = (previous >= 0) & (previous < len(self.next_codes))
        rows = self.next_codes.to(scores.device)[previous.clamp(0, len(self.next_codes) - 1)]
        allowed[:, FIRST_CODE : FIRST_CODE + rows.shape[1]] = rows | ~is_code[:, None]
        return scores.masked_fill(~allowed, -float("inf"))


def score_tokens(tokenizer: ScoreTokenizer) -> CodeTokens:
    """Return the tokens of the codes of scores."""
    return CodeTokens((tokenizer.codebook_size,), "flattened")


def split_pieces(names: Sequence[str], held_out_every: int) -> tuple[list[str], list[str]]:
    """Split pieces into training and held-out ones: each `held_out_every`-th of the sorted names is held out."""
    ordered = sorted(names)
    held_out = set(ordered[::held_out_every])
    return [name for name in ordered if name not in held_out], sorted(held_out)
