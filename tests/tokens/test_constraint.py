"""A language model that knows nothing writes codes, because it can write nothing else."""

from typing import get_args

import pytest
import torch
from transformers import GPT2Config, GPT2LMHeadModel

from hf_audio_vae.tokens import CodeTokens
from hf_audio_vae.tokens.code_tokens import BOS, EOS, PAD, Order
from hf_audio_vae.tokens.constraint import CodeConstraint

SIZES = (4, 9, 2)


def ignorant(tokens: CodeTokens) -> GPT2LMHeadModel:
    torch.manual_seed(0)
    ids = {"bos_token_id": BOS, "eos_token_id": EOS, "pad_token_id": PAD}
    config = GPT2Config(vocab_size=tokens.vocab_size, n_embd=8, n_layer=1, n_head=1, n_positions=64, **ids)
    return GPT2LMHeadModel(config).eval()


@pytest.mark.parametrize("order", get_args(Order))
def test_with_a_number_of_frames_every_sequence_is_exactly_so_long(order: Order) -> None:
    tokens = CodeTokens(SIZES, order)
    start = torch.full((4, 1), BOS)
    constraint = CodeConstraint(tokens, num_frames=7)
    torch.manual_seed(1)
    made = ignorant(tokens).generate(start, do_sample=True, max_new_tokens=60, logits_processor=[constraint])
    codes = [tokens.decode(ids) for ids in made]
    assert all(item.shape == (3, 7) for item in codes)
    assert len({str(item.tolist()) for item in codes}) == 4, "it is drawn, not forced"
    assert made.shape[1] == tokens.length(7)


@pytest.mark.parametrize("order", get_args(Order))
def test_without_one_they_end_at_whole_frames(order: Order) -> None:
    tokens = CodeTokens(SIZES, order)
    torch.manual_seed(3)
    made = ignorant(tokens).generate(
        torch.full((16, 1), BOS), do_sample=True, max_new_tokens=60, logits_processor=[CodeConstraint(tokens)]
    )
    finished = [ids for ids in made if EOS in ids]
    lengths = {tokens.decode(ids).shape[1] for ids in finished}
    assert len(finished) > 8
    assert len(lengths) > 2
    for ids in finished:
        stop = ids.tolist().index(EOS) + 1
        assert torch.equal(tokens.encode(tokens.decode(ids)), ids[:stop]), "nothing was cut"
        assert not ids[stop:].any()


def allowed_after(constraint: CodeConstraint, length: int, vocab_size: int) -> list[int]:
    scores = constraint(torch.full((1, length), BOS), torch.zeros(1, vocab_size))
    return scores.isfinite().nonzero()[:, 1].tolist()


def test_after_the_last_code_only_the_end_may_follow_and_ids_beyond_the_tokens_never() -> None:
    tokens = CodeTokens((4, 2))
    constraint = CodeConstraint(tokens, start=3, num_frames=2)
    second = list(tokens.ids_of(1))
    for vocab_size in (tokens.vocab_size, tokens.vocab_size + 7):  # models round their vocabulary up
        assert allowed_after(constraint, 6, vocab_size) == second
        for length in (7, 8, 30):
            assert allowed_after(constraint, length, vocab_size) == [EOS]
    with pytest.raises(ValueError, match="there are 2 ids, but the first code follows 3"):
        allowed_after(constraint, 2, tokens.vocab_size)
    with pytest.raises(ValueError, match="the model has 10 ids, the tokens 11"):
        allowed_after(constraint, 3, tokens.vocab_size - 1)


@pytest.mark.parametrize("order", get_args(Order))
def test_codes_that_are_known_stay_and_each_sequence_has_its_own(order: Order) -> None:
    tokens, generator = CodeTokens(SIZES, order), torch.Generator().manual_seed(0)
    known = torch.stack(
        [torch.stack([torch.randint(size, (3,), generator=generator) for size in SIZES]) for _ in range(2)]
    )
    constraint = CodeConstraint(tokens, num_frames=5, known=known)
    torch.manual_seed(2)
    made = ignorant(tokens).generate(
        torch.full((2, 1), BOS), do_sample=True, max_new_tokens=60, logits_processor=[constraint]
    )
    for ids, given in zip(made, known, strict=True):
        assert torch.equal(tokens.decode(ids)[:, :3], given)


def test_all_frames_may_be_known_and_the_end_follows() -> None:
    tokens = CodeTokens(SIZES)
    known = torch.zeros(1, 3, 2, dtype=torch.int64)
    constraint = CodeConstraint(tokens, num_frames=2, known=known)
    ids = tokens.encode(known[0])[None]
    for length in range(1, ids.shape[1]):
        scores = constraint(ids[:, :length], torch.zeros(1, tokens.vocab_size))
        assert scores[0].isfinite().nonzero()[:, 0].tolist() == [int(ids[0, length])]


def test_after_the_end_only_the_end_may_follow() -> None:
    tokens = CodeTokens(SIZES)
    constraint = CodeConstraint(tokens, num_frames=1)
    ids = torch.cat([tokens.encode(torch.zeros(3, 1, dtype=torch.int64)), torch.full((3,), EOS)])
    scores = constraint(ids[None], torch.zeros(1, tokens.vocab_size))
    assert scores[0].isfinite().nonzero()[:, 0].tolist() == [EOS]


def test_more_known_than_wanted_is_refused() -> None:
    known = torch.zeros(1, 3, 4, dtype=torch.int64)
    for num_frames in (None, 3):
        with pytest.raises(ValueError, match="`known` has 4 frames and"):
            CodeConstraint(CodeTokens(SIZES), num_frames=num_frames, known=known)


@pytest.mark.parametrize(
    ("known", "message"),
    [
        (torch.zeros(3, 4, dtype=torch.int64), r"shape \(3, 4\), expected \(batch, 3, frames\)"),
        (torch.zeros(1, 2, 4, dtype=torch.int64), r"shape \(1, 2, 4\), expected"),
        (torch.zeros(1, 3, 4), "dtype torch.float32"),
        (torch.full((1, 3, 4), 4), "code 4 of codebook 0 at frame 0 is outside 0 to 3"),
    ],
)
def test_what_is_known_has_to_be_codes(known: torch.Tensor, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        CodeConstraint(CodeTokens(SIZES), num_frames=5, known=known)
