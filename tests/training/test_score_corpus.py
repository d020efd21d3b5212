from pathlib import Path

import pytest
import torch

from hf_audio_vae.data import CodesRecord, load_latent_stream
from hf_audio_vae.tokens.scores import TOKENIZER_FILE, ScoreTokenizer
from training.corpora import scores


@pytest.mark.slow
def test_tunes_of_music21_are_split_by_piece_and_come_back_from_their_codes(tmp_path: Path) -> None:
    pytest.importorskip("music21")
    pytest.importorskip("miditok")
    out = tmp_path / "scores"
    scores.main(["--output_dir", str(out), "--max_pieces", "4", "--held_out_every", "2"])
    rows = {split: list(load_latent_stream(str(out / split))) for split in ("train", "held_out")}
    names = {split: {row["path"] for row in found} for split, found in rows.items()}
    assert [len(found) for found in names.values()] == [2, 2]
    assert not names["train"] & names["held_out"]
    records = [CodesRecord.read(str(out / split), None) for split in rows]
    records[1].check_weights(records[0].weights, "held_out")
    tokenizer = ScoreTokenizer(out / "train" / TOKENIZER_FILE)
    assert records[0].codebook_sizes == [[tokenizer.codebook_size]]
    for row in (*rows["train"], *rows["held_out"]):
        codes = torch.as_tensor(row["codes"]).T.long()
        assert tokenizer.decode(codes).note_num() > 50
    with pytest.raises(ValueError, match="exists; remove it"):
        scores.main(["--output_dir", str(out)])
    with pytest.raises(ValueError, match="whose license was not checked; use ryansMammoth"):
        scores.main(["--output_dir", str(tmp_path / "other"), "--sets", "[bach]"])


def test_no_sets_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="`sets` is empty; give at least one of ryansMammoth"):
        scores.main(["--output_dir", str(tmp_path / "out"), "--sets", "[]"])
