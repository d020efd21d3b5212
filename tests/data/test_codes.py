import itertools
import json
from pathlib import Path

import datasets
import numpy as np
import pytest
import torch
from torch import Tensor
from transformers import GPT2Config, GPT2LMHeadModel, Trainer, TrainingArguments

from hf_audio_vae.data import (
    CodesRecord,
    CodeStream,
    StreamLoader,
    TooManyBadItemsError,
    collate_tokens,
    load_latent_stream,
    tokenize_dataset,
)
from hf_audio_vae.data.code_records import code_features
from hf_audio_vae.tokens import CodeTokens, UpsamplingTokens
from hf_audio_vae.tokens.code_tokens import BOS, EOS
from tests.data.code_data import codes_record, write_codes

LENGTHS = [4, 30, 9, 17]
# Row i, frame t: the first codebook tells the frame, the second the row.
ROWS = [[np.stack([np.arange(n), np.full(n, i)])] for i, n in enumerate(LENGTHS)]
SIZES = {"codebook_sizes": [[30, 4]]}


def stream_of(folder: Path, **options: object) -> CodeStream:
    defaults: dict[str, object] = {"tokens": CodeTokens((30, 4)), "columns": ("codes",), "unit_rate": 100.0}
    defaults |= {"segment_units": 8, "batch_size": 4, "seed": 1, "shuffle_buffer_size": 3}
    return CodeStream(load_latent_stream(str(folder)), **defaults | options)  # type: ignore[arg-type]


def sequences(stream: CodeStream, batches: int) -> list[tuple[Tensor, Tensor]]:
    taken = itertools.islice(StreamLoader(stream), batches)
    return [pair for batch in taken for pair in zip(batch.input_ids, batch.labels, strict=True)]


def test_a_sequence_is_a_stretch_of_its_row_that_ends_where_the_row_does(tmp_path: Path) -> None:
    stream = stream_of(write_codes(tmp_path / "codes", ROWS, **SIZES))
    seen = set()
    for ids, labels in sequences(stream, 60):
        assert ids[0] == BOS
        codes = CodeTokens((30, 4)).decode(ids)
        start, row = int(codes[0, 0]), int(codes[1, 0])
        frames = min(LENGTHS[row], 8)
        assert torch.equal(codes, torch.stack([torch.arange(start, start + frames), torch.full((frames,), row)]))
        assert (EOS in ids) == (start + frames == LENGTHS[row])
        length = 1 + 2 * frames + (EOS in ids)
        assert torch.equal(labels[:length], ids[:length])
        assert bool((labels[length:] == -100).all())
        seen.add((row, start))
    assert {(0, 0), (1, 0), (1, 22)} <= seen


def test_a_batch_is_padded_and_counts_its_sound(tmp_path: Path) -> None:
    stream = stream_of(write_codes(tmp_path / "codes", ROWS, **SIZES), segment_units=20, shuffle_buffer_size=1)
    (batch,) = itertools.islice(StreamLoader(stream), 1)
    assert batch.input_ids.shape == batch.labels.shape == (4, 41)
    assert batch.seconds == pytest.approx((4 + 20 + 9 + 17) / 100)


def test_both_levels_of_a_window_are_of_the_same_stretch(tmp_path: Path) -> None:
    rows = [[np.arange(3 * n)[None], np.arange(2 * n)[None]] for n in (5, 20)]  # 3 fine frames on 2 coarse ones
    settings = {"hop_lengths": [80, 120], "codebook_sizes": [[60], [40]], "hierarchical": True}
    folder = write_codes(tmp_path / "codes", rows, **settings)
    tokens = UpsamplingTokens((40,), (60,), (2, 3))
    stream = stream_of(folder, tokens=tokens, columns=("codes_1", "codes_0"), segment_units=6, batch_size=1)
    starts = set()
    for ids, labels in sequences(stream, 40):
        units = (len(ids) - 2) // 5
        assert units in (5, 6)
        coarse, fine = ids[1 : 1 + 2 * units] - 5, ids[2 + 2 * units :] - 45
        assert torch.equal(coarse, coarse[0] + torch.arange(2 * units))
        assert torch.equal(fine, fine[0] + torch.arange(3 * units))
        assert 3 * coarse[0] == 2 * fine[0]
        assert (labels == -100).sum() == 2 + 2 * units
        starts.add(int(coarse[0]))
    assert len(starts) > 5


@pytest.mark.parametrize("num_workers", [0, 2])
def test_resume_continues_at_the_next_batch(tmp_path: Path, num_workers: int) -> None:
    folder = write_codes(tmp_path / "codes", ROWS, **SIZES)
    straight = [b.input_ids for b in itertools.islice(StreamLoader(stream_of(folder), num_workers=num_workers), 7)]
    first = StreamLoader(stream_of(folder), num_workers=num_workers)
    list(itertools.islice(first, 3))
    second = StreamLoader(stream_of(folder), num_workers=num_workers)
    second.load_state_dict(first.state_dict())
    rest = [batch.input_ids for batch in itertools.islice(second, 4)]
    assert all(torch.equal(a, b) for a, b in zip(straight[3:], rest, strict=True))


def test_what_is_no_code_is_named_and_a_column_that_is_not_there_refused(tmp_path: Path) -> None:
    folder = write_codes(tmp_path / "codes", ROWS, **SIZES)
    with pytest.raises(TooManyBadItemsError, match=r"code \d+ of codebook 0 at frame \d is outside 0 to 2"):
        sequences(stream_of(folder, tokens=CodeTokens((3, 4)), batch_size=1), 40)
    with pytest.raises(ValueError, match=r"no columns \['codes_1'\]; the data set has \['codes'"):
        stream_of(folder, columns=("codes_1",))


def test_rows_become_what_transformers_trains_on(tmp_path: Path) -> None:
    folder = write_codes(tmp_path / "codes", ROWS, **SIZES)
    rows = datasets.load_dataset(str(folder), split="train")
    tokens = CodeTokens((30, 4), "delayed")
    made = tokenize_dataset(rows, tokens)
    assert made.column_names == ["input_ids", "attention_mask", "labels"]
    for row, (codes,) in zip(made, ROWS, strict=True):
        assert torch.equal(tokens.decode(torch.tensor(row["input_ids"])), torch.as_tensor(codes))
        assert row["labels"] == row["input_ids"]
        assert row["attention_mask"] == [1] * len(row["input_ids"])
    with pytest.raises(ValueError, match=r"no columns \['tokens'\]"):
        tokenize_dataset(rows, tokens, ["tokens"])


def test_a_row_whose_item_goes_on_has_no_end(tmp_path: Path) -> None:
    folder = write_codes(tmp_path / "codes", ROWS, last=False, **SIZES)
    assert not any(EOS in ids for ids, _ in sequences(stream_of(folder), 20))
    rows = tokenize_dataset(datasets.load_dataset(str(folder), split="train"), CodeTokens((30, 4)))
    assert [len(row["input_ids"]) for row in rows] == [1 + 2 * frames for frames in LENGTHS]
    whole = datasets.load_dataset(str(folder), split="train").remove_columns("last")
    assert all(row["input_ids"][-1] == EOS for row in tokenize_dataset(whole, CodeTokens((30, 4))))


def test_a_trainer_of_transformers_learns_from_them(tmp_path: Path) -> None:
    rows = datasets.load_dataset(str(write_codes(tmp_path / "codes", ROWS, **SIZES)), split="train")
    tokens = CodeTokens((30, 4))
    made = tokenize_dataset(rows, tokens)
    batch = collate_tokens([made[0], made[2]])
    assert {name: value.shape for name, value in batch.items()} == dict.fromkeys(batch, (2, 20))
    assert batch["attention_mask"].sum(dim=1).tolist() == [10, 20]
    assert batch["input_ids"][0, 10:].tolist() == [0] * 10
    assert batch["labels"][0, 10:].tolist() == [-100] * 10
    torch.manual_seed(0)
    model = GPT2LMHeadModel(GPT2Config(vocab_size=tokens.vocab_size, n_embd=8, n_layer=1, n_head=1, n_positions=64))
    before = {name: weight.clone() for name, weight in model.state_dict().items()}
    arguments = TrainingArguments(str(tmp_path / "out"), max_steps=2, report_to="none", use_cpu=True)
    trainer = Trainer(model, arguments, train_dataset=made, data_collator=collate_tokens)
    assert trainer.train().training_loss > 0
    assert any(not torch.equal(weight, before[name]) for name, weight in model.state_dict().items())


@pytest.mark.parametrize("text", ["{", "[]", '{"format": "hf_audio_vae.code_dataset.v1", "colour": 1}'])
def test_a_damaged_record_says_what_to_do(text: str, tmp_path: Path) -> None:
    (tmp_path / "codes.json").write_text(text)
    with pytest.raises(ValueError, match=r"codes.json cannot be read: .*\. Encode the data set again"):
        CodesRecord.read(tmp_path)


def test_a_record_of_codes_comes_back_as_it_was_and_knows_its_levels(tmp_path: Path) -> None:
    settings = {"hop_lengths": [80, 320], "codebook_sizes": [[4, 4], [8]], "hierarchical": True}
    counts = [[1, 2, 3, 4], [4, 3, 2, 1], [5] * 8]
    written = codes_record(**settings, rows=1, code_counts=counts)
    written.write(tmp_path)
    record = CodesRecord.read(tmp_path)
    assert record == written
    assert record.columns == ["codes_0", "codes_1"]
    assert record.frame_rates == [100.0, 25.0]
    assert record.counts_of(0) == counts[:2]
    assert record.counts_of(1) == counts[2:]
    assert record.differences(codes_record(**settings, model="elsewhere")) == []
    assert "`codes_0` 2 per frame at 100 Hz, `codes_1` 1 per frame at 25 Hz" in (tmp_path / "README.md").read_text()
    (tmp_path / "codes.json").write_text(json.dumps({"format": "another"}))
    with pytest.raises(ValueError, match="not in the format 'hf_audio_vae.code_dataset.v1'"):
        CodesRecord.read(tmp_path)
    with pytest.raises(ValueError, match=r"columns \['codes_0'\], which are reserved for codes"):
        code_features(["codes_0"], [2], {"codes_0": datasets.Value("string")})
