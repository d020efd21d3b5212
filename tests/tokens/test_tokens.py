import dataclasses
import itertools
import os
import subprocess
import sys
from pathlib import Path
from typing import get_args

import pytest
import torch
from torch import Tensor

from hf_audio_vae.files import pretrained
from hf_audio_vae.tokens import CodesInfo, CodeTokens, UpsamplingTokens, load_tokens, save_tokens, storage
from hf_audio_vae.tokens.code_tokens import BLANK, BOS, EOS, PAD, Order

ORDERS = get_args(Order)
SIZES = [(5,), (4, 9), (3, 1, 7)]


def random_codes(sizes: tuple[int, ...], frames: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.stack([torch.randint(size, (frames,), generator=generator) for size in sizes])


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("sizes", SIZES, ids=str)
@pytest.mark.parametrize("frames", [1, 2, 5, 17])
def test_codes_come_back_as_they_were(sizes: tuple[int, ...], order: Order, frames: int) -> None:
    tokens, codes = CodeTokens(sizes, order), random_codes(sizes, frames)
    ids = tokens.encode(codes)
    assert ids.dtype == torch.int64
    assert int(ids.max()) < tokens.vocab_size
    assert len(ids) == tokens.length(frames)
    assert torch.equal(tokens.decode(ids), codes)
    assert torch.equal(tokens.decode(ids[1:]), codes), "without begin"
    assert torch.equal(tokens.decode(torch.cat([ids, torch.tensor([PAD, 999, -1])])), codes), "with what follows"


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("sizes", SIZES, ids=str)
def test_one_change_of_a_code_changes_one_token_of_its_codebooks_own_range(
    sizes: tuple[int, ...], order: Order
) -> None:
    tokens, codes = CodeTokens(sizes, order), torch.zeros(len(sizes), 4, dtype=torch.int64)
    seen = set()
    ids = tokens.encode(codes)
    for codebook, frame in itertools.product(range(len(sizes)), range(4)):
        for code in range(1, sizes[codebook]):
            changed = codes.clone()
            changed[codebook, frame] = code
            (place,) = (tokens.encode(changed) != ids).nonzero()
            token = int(tokens.encode(changed)[place])
            assert token in tokens.ids_of(codebook)
            seen.add((codebook, token))
    assert len({token for _, token in seen}) == len(seen) == sum(size - 1 for size in sizes)


def test_the_orders_are_those_of_the_papers() -> None:
    codes = torch.tensor([[0, 1, 2], [0, 1, 2]])  # a, then b
    a, b, blank = (5, 6, 7), (8, 9, 10), BLANK
    expected = {
        "flattened": [a[0], b[0], a[1], b[1], a[2], b[2]],
        "delayed": [a[0], blank, a[1], b[0], a[2], b[1], blank, b[2]],
        "coarse_to_fine": [*a, *b],
    }
    for order, ids in expected.items():
        assert CodeTokens((3, 3), order).encode(codes).tolist() == [BOS, *ids, EOS]


def test_a_delayed_code_is_written_after_all_codes_of_the_frames_before_it_and_the_coarser_ones_of_its_own() -> None:
    codebooks, places = CodeTokens((3, 3, 3), "delayed").layout(6)
    position = {(int(q), int(t)): i for i, (q, t) in enumerate(zip(codebooks, places, strict=True)) if q >= 0}
    assert len(position) == 18
    for (codebook, frame), place in position.items():
        before = {pair for pair, other in position.items() if other < place}
        assert {(q, frame) for q in range(codebook)} <= before, "the coarser ones of its frame"
        assert {(q, t) for q in range(3) for t in range(frame - 2 + codebook)} <= before, "all of the past"
        assert not any(t > frame + codebook for _, t in before), "nothing of what is later than its step"


@pytest.mark.parametrize("order", ORDERS)
def test_what_breaks_off_is_decoded_to_the_whole_frames_there_are(order: Order) -> None:
    tokens, codes = CodeTokens((4, 9, 2), order), random_codes((4, 9, 2), 6)
    ids = tokens.encode(codes)
    lengths = [tokens.decode(ids[:stop]).shape[1] for stop in range(len(ids) + 1)]
    for stop, frames in enumerate(lengths):
        assert torch.equal(tokens.decode(ids[:stop]), codes[:, :frames])
        ended = torch.cat([ids[: max(stop, 1)], torch.tensor([EOS])])
        assert tokens.decode(ended).shape[1] == frames
    assert lengths[0] == lengths[1] == 0
    assert lengths == sorted(lengths)
    if order == "coarse_to_fine":  # frames are whole when the last codebook comes to them
        expected = [max(written - 2 * 6, 0) for written in range(18)]
    else:  # three codes a frame, of `delayed` two blank steps later
        expected = [max(written // 3 - (2 if order == "delayed" else 0), 0) for written in range(len(ids) - 2)]
    assert lengths[1:-2] == expected


@pytest.mark.parametrize("order", ORDERS)
def test_a_crop_that_goes_on_has_the_beginning_of_what_goes_on(order: Order) -> None:
    tokens, codes = CodeTokens((4, 9, 2), order), random_codes((4, 9, 2), 8)
    crop, whole = tokens.encode(codes[:, :5], ended=False), tokens.encode(codes)
    assert len(crop) == 1 + 5 * 3
    if order == "coarse_to_fine":  # codebook by codebook of the crop: the whole has other frames between
        assert torch.equal(crop, tokens.encode(codes[:, :5])[:-1])
    else:
        assert torch.equal(crop, whole[: len(crop)])


@pytest.mark.parametrize("order", ORDERS)
def test_a_token_that_does_not_fit_is_named_with_its_position(order: Order) -> None:
    tokens, codes = CodeTokens((4, 9), order), random_codes((4, 9), 3)
    ids = tokens.encode(codes)
    for position in range(1, len(ids) - 1):
        for token in (BOS, BLANK, *range(5, tokens.vocab_size)):
            wrong = ids.clone()
            wrong[position] = token
            same_codebook = any({token, int(ids[position])} <= set(tokens.ids_of(codebook)) for codebook in range(2))
            allowed = [i for fitting in tokens.next_ids(ids[1:position]) for i in fitting]
            if same_codebook or token == ids[position]:
                tokens.decode(wrong)
            elif token in allowed:
                continue  # the sound could end or go on there: a later token is the one that does not fit
            else:
                with pytest.raises(ValueError, match=f"token {token} at position {position} is not allowed"):
                    tokens.decode(wrong)
    with pytest.raises(ValueError, match=r"expected \(length,\)"):
        tokens.decode(ids[None])


@pytest.mark.parametrize("order", ["coarse_to_fine", "delayed"])
def test_a_first_token_of_another_codebook_is_told_what_belongs_there(order):
    second = 5 + 4  # the first id of the second codebook
    wrong = {"coarse_to_fine": second, "delayed": BLANK}[order]
    with pytest.raises(ValueError, match=f"token {wrong} at position 0 .* requires 5 to 8"):
        CodeTokens((4, 2), order).decode(torch.tensor([wrong]))


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("sizes", [(2,), (2, 1), (1, 2, 1)], ids=str)
def test_what_may_follow_is_exactly_what_whole_codes_have_there(sizes: tuple[int, ...], order: Order) -> None:
    tokens, longest = CodeTokens(sizes, order), 3
    following: dict[tuple[int, ...], set[int]] = {}
    for frames in range(1, longest + 1):
        for values in itertools.product(*(range(size) for size in sizes for _ in range(frames))):
            ids = tokens.encode(torch.tensor(values).view(len(sizes), frames))[1:].tolist()
            for stop in range(len(ids)):
                following.setdefault(tuple(ids[:stop]), set()).add(ids[stop])
    for body, expected in following.items():
        begun, is_open = tokens._begun(torch.tensor(body, dtype=torch.int64))
        if is_open and begun >= longest:
            continue  # longer ones were not listed
        allowed = [i for ids in tokens.next_ids(torch.tensor(body, dtype=torch.int64)) for i in ids]
        assert set(allowed) == expected, body


@pytest.mark.parametrize("order", ORDERS)
def test_bounds_hold_known_codes_where_they_belong_and_leave_the_rest_open(order: Order) -> None:
    tokens, codes = CodeTokens((4, 9, 2), order), random_codes((4, 9, 2), 5)
    ids = tokens.encode(codes)[1:]
    low, high = tokens.bounds(5, torch.stack([codes[:, :2], codes[:, :2].flip(1)]))
    assert low.shape == high.shape == (2, len(ids))
    assert bool(((ids >= low[0]) & (ids < high[0])).all())
    assert int((high[0] - low[0] == 1).sum()) >= 2 * 3
    codebooks, places = tokens.layout(5)
    for place, (codebook, frame) in enumerate(zip(codebooks.tolist(), places.tolist(), strict=True)):
        free = range(int(low[0, place]), int(high[0, place]))
        if codebook >= 0 and frame < 2:
            assert list(free) == [int(ids[place])]
        elif codebook >= 0:
            assert free == tokens.ids_of(codebook)
    assert (int(low[0, -1]), int(high[0, -1])) == (EOS, EOS + 1)


@pytest.mark.parametrize(
    ("codes", "message"),
    [
        (torch.zeros(3, 4, dtype=torch.int64), r"shape \(3, 4\), expected \(2, frames\)"),
        (torch.zeros(2, 4), "dtype torch.float32; convert it to int64"),
        (torch.tensor([[0, 1], [0, 9]]), "code 9 of codebook 1 at frame 1 is outside 0 to 8"),
        (torch.tensor([[0, -1], [0, 0]]), "code -1 of codebook 0 at frame 1"),
    ],
)
def test_codes_that_are_none_are_refused(codes: Tensor, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        CodeTokens((4, 9)).encode(codes)


def test_orders_and_sizes_that_do_not_exist_are_refused() -> None:
    with pytest.raises(ValueError, match="'parallel'; use one of flattened, delayed, coarse_to_fine"):
        CodeTokens((4,), "parallel")  # type: ignore[arg-type]
    for sizes in ((), (4, 0)):
        with pytest.raises(ValueError, match="`codebook_sizes`"):
            CodeTokens(sizes)
    with pytest.raises(ValueError, match="`unit_frames`"):
        UpsamplingTokens((4,), (4,), (1, 0))


def test_an_upsampling_window_holds_both_levels_and_learns_the_fine_one() -> None:
    tokens = UpsamplingTokens((4,), (6, 2), (2, 3))
    coarse, fine = random_codes((4,), 4), random_codes((6, 2), 6)
    ids, learnt = tokens.example([coarse, fine], ended=False)
    prompt = tokens.prompt(coarse)
    assert len(ids) == tokens.length(2)
    assert torch.equal(ids[: len(prompt)], prompt)
    assert bool(learnt[len(prompt) :].all())
    assert not learnt[: len(prompt)].any()
    assert torch.equal(tokens.fine.decode(ids[len(prompt) :]), fine)
    assert int(prompt.max()) < int(ids[len(prompt) :].min()) <= int(ids.max()) < tokens.vocab_size
    with pytest.raises(ValueError, match="4 coarse frames do not match 5 fine frames"):
        tokens.example([coarse, fine[:, :5]], ended=False)


@pytest.mark.parametrize(
    "tokens", [CodeTokens((4, 2), "delayed"), UpsamplingTokens((4,), (8,), (1, 4))], ids=["codes", "upsampling"]
)
def test_tokens_come_back_from_their_file(tokens: CodeTokens | UpsamplingTokens, tmp_path) -> None:
    info = CodesInfo("somebody/codec", "0" * 64, (2, 1), (50.0, 200.0), 100)
    save_tokens(tmp_path, tokens, info)
    assert load_tokens(tmp_path) == (tokens, info)
    assert dataclasses.asdict(load_tokens(tmp_path)[0]) == dataclasses.asdict(tokens)
    (tmp_path / "code_tokens.json").write_text('{"format": "another"}')
    with pytest.raises(ValueError, match="format 'another', not 'hf_audio_vae.code_tokens.v1'"):
        load_tokens(tmp_path)
    for damaged in ("{", "[]", '{"format": "hf_audio_vae.code_tokens.v1", "kind": "codes"}'):
        (tmp_path / "code_tokens.json").write_text(damaged)
        with pytest.raises(ValueError, match=r"code_tokens.json cannot be read: .*\. Train the model again"):
            load_tokens(tmp_path)
    with pytest.raises(ValueError, match="is not a language model of codes"):
        load_tokens(tmp_path.parent)


@pytest.mark.slow
def test_without_a_network_the_cache_tells_what_is_there(tmp_path: Path) -> None:
    snapshot = tmp_path / "models--somebody--prior/snapshots/0123"
    snapshot.mkdir(parents=True)
    (tmp_path / "models--somebody--prior/refs").mkdir()
    (tmp_path / "models--somebody--prior/refs/main").write_text("0123")
    (snapshot / "code_tokens.json").write_text("{}")
    ask = "from hf_audio_vae.tokens.storage import holds_tokens as holds; "
    ask += "print(holds('somebody/prior'), holds('somebody/pipeline'), holds('no/such/name'))"
    environment = os.environ | {"HF_HUB_CACHE": str(tmp_path), "HF_HUB_OFFLINE": "1"}
    asked = subprocess.run([sys.executable, "-c", ask], env=environment, capture_output=True, text=True, check=False)
    assert asked.stdout.split() == ["True", "False", "False"], asked.stderr


def test_a_model_of_the_package_is_not_looked_for_on_the_hub(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(storage, "hf_hub_download", lambda *arguments, **options: pytest.fail("the Hub was asked"))
    assert not storage.holds_tokens("stft-vae-24khz")
    with pytest.raises(ValueError, match="stft-vae-24khz has no code_tokens.json"):
        storage.load_tokens("stft-vae-24khz")


def test_a_file_is_not_looked_for_on_the_hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "sounds").mkdir()
    (tmp_path / "sounds/a.wav").write_bytes(b"RIFF")

    def reached(*arguments: object, **options: object) -> None:
        pytest.fail("the Hub was asked for a file")

    for module in (storage, pretrained):
        monkeypatch.setattr(module, "hf_hub_download", reached)
    assert not storage.holds_tokens("sounds/a.wav"), "which looks like an id of the Hub"
    assert pretrained.file_path("sounds/a.wav", "config.json") is None
    with pytest.raises(ValueError, match="is not a language model"):
        load_tokens("sounds/a.wav")
