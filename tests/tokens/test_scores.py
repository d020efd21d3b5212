import re
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from hf_audio_vae.pipelines import Prior, generate_codes, interpolate_codes
from hf_audio_vae.tokens import CodesInfo, save_tokens
from hf_audio_vae.tokens.code_tokens import BOS, EOS, FIRST_CODE
from hf_audio_vae.tokens.scores import TOKENIZER_FILE, ScoreConstraint, ScoreTokenizer, score_tokens, split_pieces
from hf_audio_vae.tokens.storage import holds_scores
from tests.models.token_vae.tiny import tiny_token_vae


def tune(pitches: list[int]) -> Any:
    """Quarter notes, in three to the bar."""
    symusic = pytest.importorskip("symusic")
    score, track = symusic.Score(480), symusic.Track()
    track.notes.extend(symusic.Note(480 * i, 480, pitch, 90) for i, pitch in enumerate(pitches))
    score.time_signatures.append(symusic.TimeSignature(0, 3, 4))
    score.tracks.append(track)
    return score


def notes(score: Any) -> list[tuple[float, float, int]]:
    found = score.tracks[0].notes if score.tracks else []
    return [(note.time / score.tpq, note.duration / score.tpq, note.pitch) for note in found]


def tokenizer() -> ScoreTokenizer:
    pytest.importorskip("miditok")
    return ScoreTokenizer()


def test_a_tune_comes_back_from_its_codes() -> None:
    codes, pitches = tokenizer(), [60, 62, 64, 65, 67]
    encoded = codes.encode(tune(pitches))
    assert encoded.shape[0] == 1
    assert notes(codes.decode(encoded)) == [(float(i), 1.0, pitch) for i, pitch in enumerate(pitches)]
    assert notes(codes.decode(encoded[:, :-1])) == [(float(i), 1.0, pitch) for i, pitch in enumerate(pitches[:-1])]
    assert score_tokens(codes).decode(score_tokens(codes).encode(encoded)).tolist() == encoded.tolist()


def test_a_saved_tokenizer_has_the_same_codes(tmp_path: Path) -> None:
    codes = tokenizer()
    codes.save(tmp_path)
    loaded = ScoreTokenizer(tmp_path / TOKENIZER_FILE)
    assert loaded.fingerprint == codes.fingerprint
    assert torch.equal(loaded.encode(tune([60, 72])), codes.encode(tune([60, 72])))
    (tmp_path / TOKENIZER_FILE).write_text("[]")
    with pytest.raises(ValueError, match="is not a tokenizer of miditok"):
        ScoreTokenizer(tmp_path / TOKENIZER_FILE)


def legal(codes: ScoreTokenizer, row: torch.Tensor) -> bool:
    """Whether each kind of code may follow the one before, by miditok's own graph."""
    kinds = [str(codes.miditok[code]).split("_")[0] for code in row.tolist()]
    graph = codes.miditok.tokens_types_graph
    return all(after in graph[before] for before, after in zip(kinds, kinds[1:], strict=False))


def test_every_point_between_two_tunes_is_a_legal_score(tmp_path: Path) -> None:
    codes = tokenizer()
    tokens = score_tokens(codes)
    model = tiny_token_vae(vocab_size=tokens.vocab_size)
    model.save_pretrained(tmp_path)
    save_tokens(tmp_path, tokens, CodesInfo("somewhere", codes.fingerprint, (), (1.0,), 20))
    plain = Prior.from_pretrained(tmp_path)
    codes.save(tmp_path)
    assert holds_scores(tmp_path)
    prior = Prior.from_pretrained(tmp_path)
    ends = [codes.encode(tune(pitches))[:, :18] for pitches in ([60, 62, 64, 65, 67, 69], [72, 71, 69, 67, 65, 64])]
    made = interpolate_codes(prior, *ends, 5, generator=torch.Generator().manual_seed(0))
    assert made.shape == (5, 1, 18)
    assert all(legal(codes, row[0]) for row in made)
    long = generate_codes(prior, 45, generator=torch.Generator().manual_seed(0))  # of several windows
    assert legal(codes, long[0, 0])
    free = generate_codes(plain, 18, batch_size=5, generator=torch.Generator().manual_seed(0))
    assert not all(legal(codes, row[0]) for row in free), "without the tokenizer, any code may follow"


def test_the_end_and_the_first_code_are_free() -> None:
    constraint = ScoreConstraint(torch.tensor([[False, True], [False, False]]))
    ids = torch.tensor([[BOS], [FIRST_CODE], [FIRST_CODE + 1]])
    finite = constraint(ids, torch.zeros(3, FIRST_CODE + 2)).isfinite()
    assert finite[:, FIRST_CODE:].tolist() == [[True, True], [False, True], [False, False]]
    assert finite[:, EOS].all()


def test_without_miditok_the_error_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "miditok", None)
    with pytest.raises(ValueError, match=re.escape("pip install hf-audio-vae[midi]")):
        ScoreTokenizer()


def test_pieces_are_in_one_split_whatever_their_order() -> None:
    names = [f"{i:03d}.abc" for i in range(25)]
    train, held_out = split_pieces(names[::-1], 10)
    assert held_out == ["000.abc", "010.abc", "020.abc"]
    assert sorted(train + held_out) == names
