import dataclasses
import itertools
import json
from pathlib import Path
from typing import get_args

import pytest
import torch
from torch import Tensor
from transformers import GPT2Config, GPT2LMHeadModel

from hf_audio_vae import WaveformVQVAE, WaveformVQVAEConfig
from hf_audio_vae.pipelines.token_generation import (
    Prior,
    Sampling,
    generate_codes,
    generate_hierarchy,
    upsample_codes,
)
from hf_audio_vae.tokens import CodesInfo, CodeTokens, UpsamplingTokens, save_tokens
from hf_audio_vae.tokens.code_tokens import BOS, EOS, PAD, Order

SIZES = (4, 9, 2)
GREEDY = Sampling(do_sample=False)


def prior_of(tokens: CodeTokens | UpsamplingTokens, window: int, levels: tuple[int, ...] = (), **size: int) -> Prior:
    torch.manual_seed(0)
    config = GPT2Config(
        vocab_size=tokens.vocab_size,
        n_positions=tokens.length(window),
        bos_token_id=BOS,
        eos_token_id=EOS,
        pad_token_id=PAD,
        attn_pdrop=0.0,
        embd_pdrop=0.0,
        resid_pdrop=0.0,
        **{"n_embd": 8, "n_layer": 1, "n_head": 1} | size,
    )
    info = CodesInfo("somebody/codec", "0" * 64, levels, (10.0,), window)
    return Prior(GPT2LMHeadModel(config).eval(), tokens, info)


def learn(prior: Prior, examples: list[tuple[Tensor, Tensor]], steps: int) -> None:
    """Fit examples of one length."""
    ids, learnt = (torch.stack(column) for column in zip(*examples, strict=True))
    labels = ids.masked_fill(~learnt, -100)
    optimizer = torch.optim.Adam(prior.model.parameters(), lr=5e-3)
    prior.model.train()
    for _ in range(steps):
        loss = prior.model(input_ids=ids, labels=labels).loss
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    prior.model.eval()


@pytest.mark.parametrize("order", get_args(Order))
@pytest.mark.parametrize("num_frames", [1, 8, 9, 30])
def test_codes_of_any_length_and_what_is_known_stays(order: Order, num_frames: int) -> None:
    prior = prior_of(CodeTokens(SIZES, order), 8)
    codes = generate_codes(prior, num_frames, batch_size=2, generator=torch.Generator().manual_seed(0))
    assert codes.shape == (2, 3, num_frames)
    assert bool((codes >= 0).all() and (codes < torch.tensor(SIZES)[:, None]).all())
    longer = generate_codes(prior, num_frames + 5, known=codes, generator=torch.Generator().manual_seed(1))
    assert longer.shape == (2, 3, num_frames + 5)
    assert torch.equal(longer[:, :, :num_frames], codes)


def test_a_seed_is_a_sound_and_torchs_own_state_is_left_alone() -> None:
    prior = prior_of(CodeTokens(SIZES, "delayed"), 8)
    torch.manual_seed(7)
    state = torch.get_rng_state()
    first, again, other = (
        generate_codes(prior, 20, generator=torch.Generator().manual_seed(seed)) for seed in (3, 3, 4)
    )
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize("order", ["flattened", "delayed"])
def test_windows_go_on_where_the_last_one_stood(order: Order) -> None:
    """A counter, whose window knows the next frame from the last: it goes on through all windows."""
    tokens = CodeTokens((6, 6), order)
    prior = prior_of(tokens, 8, n_embd=48, n_layer=2, n_head=2)
    count = torch.arange(14) % 6
    rows = [torch.stack([count[start : start + 8], count[start : start + 8]]) for start in range(6)]
    # Of a stretch that goes on, its first tokens are learnt, too: all stretches have them.
    learn(prior, [tokens.example([row], ended=True) for row in rows], 150)
    known = torch.tensor([[[2, 3], [2, 3]]])
    codes = generate_codes(prior, 25, known=known, sampling=GREEDY)
    assert torch.equal(codes[0], ((2 + torch.arange(25)) % 6).expand(2, -1))


@pytest.mark.slow
def test_overlapping_windows_reproduce_what_the_coarse_level_tells() -> None:
    tokens = UpsamplingTokens((4,), (8,), (1, 2))
    prior = prior_of(tokens, 4, (1, 0), n_embd=48, n_layer=2, n_head=2)

    def fine_of(coarse: Tensor) -> Tensor:
        return torch.stack([2 * coarse, 2 * coarse + 1], dim=-1).flatten(-2)

    rows = [torch.tensor([row]) for row in itertools.product(range(4), repeat=4)]
    learn(prior, [tokens.example([row, fine_of(row)], ended=False) for row in rows], 120)
    for frames in (4, 5, 11):
        coarse = torch.randint(4, (2, 1, frames), generator=torch.Generator().manual_seed(frames))
        assert torch.equal(upsample_codes(prior, coarse, sampling=GREEDY), fine_of(coarse))


def test_a_window_is_written_after_the_fine_codes_of_the_one_before() -> None:
    """What is known of a window is not written anew, also where the model would write something else."""
    tokens = UpsamplingTokens((4,), (8, 3), (2, 3))
    prior = prior_of(tokens, 4, (1, 0))
    coarse = torch.randint(4, (1, 1, 22), generator=torch.Generator().manual_seed(0))
    short = upsample_codes(prior, coarse[:, :, :8], sampling=GREEDY)
    whole = upsample_codes(prior, coarse, sampling=GREEDY)
    assert whole.shape == (1, 2, 33)
    assert torch.equal(whole[:, :, :12], short)
    with pytest.raises(ValueError, match="`coarse` has 21 frames; a multiple of 2"):
        upsample_codes(prior, coarse[:, :, :21])


def test_a_hierarchy_is_written_from_the_coarsest_level_down() -> None:
    priors = [
        prior_of(CodeTokens((4,), "flattened"), 6, (2,)),
        prior_of(UpsamplingTokens((4,), (5,), (1, 2)), 3, (2, 1)),
        prior_of(UpsamplingTokens((5,), (8,), (1, 4)), 2, (1, 0)),
    ]
    steps: list[int] = []
    options = {"generator": torch.Generator().manual_seed(0), "progress": steps.append}
    codes = generate_hierarchy(priors, 7, batch_size=2, **options)
    assert len(steps) > 3 and sum(steps) == 7 + 14 + 56, "each window is told"
    assert [level.shape for level in codes] == [(2, 1, 56), (2, 1, 14), (2, 1, 7)]
    assert [int(level.max()) < size for level, size in zip(codes, (8, 5, 4), strict=True)] == 3 * [True]
    with pytest.raises(ValueError, match=r"levels \[\(2,\), \(1, 0\)\]"):
        generate_hierarchy([priors[0], priors[2]], 7)
    with pytest.raises(ValueError, match=r"levels \[\(2,\), \(2, 1\)\]; .* to 0"):
        generate_hierarchy(priors[:2], 7)
    other = prior_of(UpsamplingTokens((6,), (8,), (1, 4)), 2, (1, 0))
    with pytest.raises(ValueError, match=r"generates codebooks of \(5,\) codes, but the next one expects \(6,\)"):
        generate_hierarchy([*priors[:2], other], 7)


def test_what_cannot_be_written_is_refused() -> None:
    prior = prior_of(CodeTokens(SIZES, "delayed"), 4)
    with pytest.raises(ValueError, match="`num_frames` is 3, 3 are known"):
        generate_codes(prior, 3, known=torch.zeros(1, 3, 3, dtype=torch.int64))
    with pytest.raises(ValueError, match="window of 4 frames is too short for 3 delayed codebooks"):
        generate_codes(prior, 9)
    for wrong in (0, True, 1.0, "1"):
        with pytest.raises(ValueError, match="`batch_size` is "):
            generate_codes(prior, 3, batch_size=wrong)
        with pytest.raises(ValueError, match="`num_frames` is "):
            generate_codes(prior, wrong)
    with pytest.raises(ValueError, match="code 9 of codebook 0 at frame 0"):  # far before the last window
        generate_codes(prior_of(CodeTokens(SIZES), 4), 40, known=torch.eye(1, 30).expand(1, 3, 30).long() * 9)
    with pytest.raises(ValueError, match=r"shape \(1, 3\), expected \(batch, 1, frames\)"):
        upsample_codes(prior_of(UpsamplingTokens((4,), (8,), (1, 2)), 4), torch.zeros(1, 3, dtype=torch.int64))
    with pytest.raises(ValueError, match="use `generate_codes`"):
        upsample_codes(prior, torch.zeros(1, 3, 3, dtype=torch.int64))
    with pytest.raises(ValueError, match="use `upsample_codes`"):
        generate_codes(prior_of(UpsamplingTokens((4,), (8,), (1, 2)), 4), 3)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"temperature": 0.0}, "`temperature` is 0.0; give a number from 1e-09 to 1e.09, less than 1"),
        ({"temperature": 1e-40}, "`temperature` is 1e-40; give a number from"),
        ({"temperature": float("nan")}, "`temperature` is nan"),
        ({"temperature": "1"}, "`temperature` is '1'"),
        ({"top_k": -1}, "`top_k` is -1"),
        ({"top_k": 2.0}, "`top_k` is 2.0"),
        ({"top_p": float("nan")}, "`top_p` is nan"),
        ({"top_p": 0.0}, "`top_p` is 0.0"),
        ({"top_p": 1.5}, "`top_p` is 1.5"),
    ],
)
def test_nothing_can_be_drawn_by_such_settings(options: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Sampling(**options)  # type: ignore[arg-type]


def test_a_prior_comes_back_from_its_folder(tmp_path: Path) -> None:
    prior = prior_of(CodeTokens(SIZES, "delayed"), 8)
    prior.model.save_pretrained(tmp_path)
    save_tokens(tmp_path, prior.tokens, prior.info)
    loaded = Prior.from_pretrained(tmp_path)
    assert (loaded.tokens, loaded.info) == (prior.tokens, prior.info)
    assert torch.equal(generate_codes(loaded, 8, sampling=GREEDY), generate_codes(prior, 8, sampling=GREEDY))
    content = (tmp_path / "code_tokens.json").read_text()
    for wrong in ("0.0", "-1", "null", '"10"'):
        (tmp_path / "code_tokens.json").write_text(content.replace("10.0", wrong))
        with pytest.raises(ValueError, match="code_tokens.json cannot be read"):
            Prior.from_pretrained(tmp_path)


def edit(path: Path, **changes: object) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


@pytest.mark.parametrize(
    ("part", "changes"),
    [
        ("tokens", {"codebook_sizes": [4, 8, 3]}),
        ("tokens", {"order": "flattened"}),
        ("codes", {"frame_rates": [20.0]}),
        ("codes", {"segment_units": 4}),
    ],
)
def test_an_edited_description_of_tokens_is_refused(part: str, changes: dict[str, object], tmp_path: Path) -> None:
    prior = prior_of(CodeTokens(SIZES, "delayed"), 8)
    prior.model.save_pretrained(tmp_path)
    save_tokens(tmp_path, prior.tokens, prior.info)
    file = tmp_path / "code_tokens.json"
    edit(file, codes=json.loads(file.read_text())["codes"] | {"model": "moved"})
    assert Prior.from_pretrained(tmp_path).info.model == "moved"
    edit(file, **{part: json.loads(file.read_text())[part] | changes})
    with pytest.raises(ValueError, match=r"code_tokens.json cannot be read: its values were changed"):
        Prior.from_pretrained(tmp_path)


def test_an_edited_configuration_of_a_language_model_is_refused(tmp_path: Path) -> None:
    prior = prior_of(CodeTokens(SIZES), 8)
    prior.model.save_pretrained(tmp_path)
    save_tokens(tmp_path, prior.tokens, prior.info)
    edit(tmp_path / "config.json", transformers_version="0.0")
    Prior.from_pretrained(tmp_path)
    edit(tmp_path / "config.json", n_head=2)
    with pytest.raises(ValueError, match=r"config.json is not the one that the language model was saved with"):
        Prior.from_pretrained(tmp_path)
    file = tmp_path / "code_tokens.json"
    file.write_text(json.dumps({key: value for key, value in json.loads(file.read_text()).items() if key != "sha256"}))
    Prior.from_pretrained(tmp_path)  # an earlier version wrote no checksums
    edit(file, tokens={"codebook_sizes": [4, 9, 3], "order": "delayed"})
    with pytest.raises(ValueError, match=r"has \d+ ids, but its code_tokens.json describes \d+; use an intact copy"):
        Prior.from_pretrained(tmp_path)


def test_a_language_model_of_pickles_is_refused_with_a_remedy(tmp_path: Path) -> None:
    prior = prior_of(CodeTokens(SIZES), 8)
    prior.model.save_pretrained(tmp_path)
    save_tokens(tmp_path, prior.tokens, prior.info)
    (tmp_path / "model.safetensors").unlink()
    torch.save(prior.model.state_dict(), tmp_path / "pytorch_model.bin")
    with pytest.raises(
        OSError, match=r"no safetensors files, but pytorch_model.bin\. Pickles are not read.*save it again"
    ):
        Prior.from_pretrained(tmp_path)


def test_an_unknown_order_ends_with_one_full_stop(tmp_path: Path) -> None:
    save_tokens(tmp_path, CodeTokens(SIZES), CodesInfo("m", "0", (), (10.0,), 8))
    edit(tmp_path / "code_tokens.json", tokens={"codebook_sizes": SIZES, "order": "sideways"})
    with pytest.raises(ValueError, match=r"[^.]\. Train the model again\.$"):
        Prior.from_pretrained(tmp_path)


def test_tokens_have_the_codebooks_and_the_rate_of_their_autoencoder() -> None:
    autoencoder = WaveformVQVAE(
        WaveformVQVAEConfig(encoder_hidden_size=4, decoder_hidden_size=8, downsampling_ratios=(4, 5), hidden_size=8)
    )
    sizes, rate = autoencoder.codebook_sizes, autoencoder.frame_rate
    info = CodesInfo("m", "0", (), (rate,), 8)
    Prior(prior_of(CodeTokens((2,)), 8).model, CodeTokens(sizes), info).check_autoencoder(autoencoder)
    wrong = (
        (CodeTokens((*sizes[:-1], sizes[-1] + 1)), info),
        (CodeTokens((*sizes, 4)), info),
        (CodeTokens(sizes), dataclasses.replace(info, frame_rates=(2 * rate,))),
    )
    for tokens, given in wrong:
        with pytest.raises(ValueError, match="but the autoencoder has"):
            Prior(prior_of(CodeTokens((2,)), 8).model, tokens, given).check_autoencoder(autoencoder)


@pytest.mark.parametrize("options", [{"top_k": 1}, {"top_p": 1e-6}, {"temperature": 1e-6}])
def test_each_setting_can_leave_the_likeliest_code_alone(options: dict[str, float]) -> None:
    prior = prior_of(CodeTokens(SIZES, "delayed"), 8)
    with torch.no_grad():
        prior.model.lm_head.weight.mul_(20)  # no two codes are almost equally likely
    sampled = generate_codes(prior, 8, sampling=Sampling(**options), generator=torch.Generator().manual_seed(0))
    assert torch.equal(sampled, generate_codes(prior, 8, sampling=GREEDY))


def test_a_window_of_a_finer_level_begins_in_the_middle_of_the_one_before() -> None:
    prior = prior_of(UpsamplingTokens((4,), (8,), (1, 2)), 4, (1, 0))
    given: list[int] = []

    def note(module: object, arguments: tuple[object, ...], options: dict[str, Tensor]) -> None:
        given.append(options["input_ids"].shape[1])

    prior.model.register_forward_pre_hook(note, with_kwargs=True)
    upsample_codes(prior, torch.zeros(1, 1, 8, dtype=torch.int64), sampling=GREEDY)
    prompt, half = 2 + 4, 4  # begin, coarse codes and separator; fine codes of half a window
    assert [length for length in given if length > 1] == [prompt, prompt + half, prompt + half]
