import math
from pathlib import Path

import pytest
import torch
from transformers import GPT2LMHeadModel

from hf_audio_vae.data.codes import TokenBatch, TokenCrop, collate_crops
from hf_audio_vae.data.streaming import Origin, Position
from hf_audio_vae.tokens import CodesInfo, CodeTokens, UpsamplingTokens, save_tokens
from hf_audio_vae.tokens.code_tokens import BOS
from hf_audio_vae.tokens.constraint import CodeConstraint
from hf_audio_vae.training.token_prior.model import new_prior, pretrained_prior
from hf_audio_vae.training.token_prior.objective import (
    TokenObjective,
    language_model_step,
    prior_metrics,
    prior_task,
)
from tests.data.code_data import codes_record

HIERARCHY = {"hop_lengths": [80, 240], "codebook_sizes": [[8], [5, 3]], "hierarchical": True}
COUNTS = [[1] * 8, [10, 0, 0, 0, 0], [5, 3, 2]]
LLAMA = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2}
TINY_BERT = LLAMA | {"max_position_embeddings": 20}
GPT2 = {"n_embd": 32, "n_layer": 2, "n_head": 2, "attn_pdrop": 0.0, "embd_pdrop": 0.0, "resid_pdrop": 0.0}


def batch_of(sequences: list[torch.Tensor]) -> TokenBatch:
    origin = Origin([str(i) for i in range(len(sequences))], [0] * len(sequences), 0, Position())
    return collate_crops([TokenCrop(ids, ids.clone(), len(ids)) for ids in sequences], origin, 1.0)


def tiny(vocab_size: int, length: int, model_type: str = "gpt2") -> GPT2LMHeadModel:
    torch.manual_seed(0)
    return new_prior(model_type, GPT2 if model_type == "gpt2" else LLAMA, vocab_size, length)


@pytest.mark.parametrize(
    ("model_type", "order"), [("gpt2", "delayed"), ("llama", "flattened"), ("gpt2", "coarse_to_fine")]
)
def test_a_model_that_has_learnt_a_few_sequences_writes_exactly_these_codes(model_type: str, order: str) -> None:
    tokens = CodeTokens((7, 4), order)  # type: ignore[arg-type]
    generator = torch.Generator().manual_seed(0)
    codes = [torch.stack([torch.randint(s, (6,), generator=generator) for s in (7, 4)]) for _ in range(3)]
    for i, item in enumerate(codes):
        item[0, 0] = i  # what tells them apart
    batch = batch_of([tokens.encode(item) for item in codes])
    model = tiny(tokens.vocab_size, tokens.length(6), model_type).train()
    optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)
    for step in range(120):
        loss = TokenObjective(model)(batch, step).losses["model"]
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    model.eval()
    starts = batch.input_ids[:, :2]
    made = model.generate(starts, do_sample=False, logits_processor=[CodeConstraint(tokens)])
    for ids, item in zip(made, codes, strict=True):
        assert torch.equal(tokens.decode(ids), item)


def test_a_step_costs_what_transformers_says_and_padding_costs_nothing() -> None:
    tokens = CodeTokens((7, 4))
    long, short = (tokens.encode(torch.zeros(2, n, dtype=torch.int64)) for n in (6, 2))
    model = tiny(tokens.vocab_size, 20).eval()
    errors = language_model_step(model, batch_of([long, short]))
    for row, ids in enumerate((long, short)):
        expected = model(input_ids=ids[None], labels=ids[None]).loss
        torch.testing.assert_close(errors.of_items[row], expected, rtol=1e-5, atol=0)
    assert not errors.nats[1, len(short) - 1 :].any()
    logged = TokenObjective(model)(batch_of([long, short]), 0).logged
    assert logged["bits_per_token"].item() == pytest.approx(errors.of_items.mean().item() / math.log(2))
    of_codes = [errors.nats[0, :-1], errors.nats[1, : len(short) - 2]]  # without begin and end
    expected = torch.cat(of_codes).mean().item() / math.log(2)
    assert logged["bits_per_code"].item() == pytest.approx(expected)


def test_the_memoryless_guess_is_the_entropy_of_each_codebook() -> None:
    big = [[value * 10**9 for value in counts] for counts in COUNTS]
    task = prior_task(codes_record(**HIERARCHY, code_counts=big), "delayed")
    assert task.tokens == CodeTokens((5, 3), "delayed")
    assert task.codes_per_second == pytest.approx(2 * 8000 / 240)
    shares = torch.tensor([0.5, 0.3, 0.2])
    torch.testing.assert_close(task.unigram_nats()[10:13], -shares.log())
    assert task.unigram_nats()[5].item() == pytest.approx(0, abs=1e-6)
    few = prior_task(codes_record(**HIERARCHY, code_counts=COUNTS), "delayed").unigram_nats()
    assert few[6].item() == pytest.approx(-math.log(0.5 / 12.5), rel=1e-6), (
        "a code that was never seen is not impossible"
    )


def test_a_uniform_model_is_measured_at_the_logarithm_of_its_vocabulary() -> None:
    task = prior_task(codes_record(**HIERARCHY, code_counts=COUNTS), "delayed")
    model = tiny(task.tokens.vocab_size, 20)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.zero_()
    codes = torch.tensor([[0, 0, 0], [0, 1, 2]])
    metrics = prior_metrics(model, [batch_of([task.tokens.encode(codes)])], task, torch.device("cpu"))
    assert metrics["nats_per_code"] == pytest.approx(math.log(13), rel=1e-5)
    guess = -(3 * math.log(10.5 / 12.5) + math.log(5.5 / 11.5) + math.log(3.5 / 11.5) + math.log(2.5 / 11.5)) / 6
    assert metrics["memoryless_nats_per_code"] == pytest.approx(guess, rel=1e-5)
    assert metrics["prior_bits_per_second"] == pytest.approx(math.log2(13) * 2 * 8000 / 240, rel=1e-5)
    with pytest.raises(ValueError, match="holds no codes"):
        prior_metrics(model, [], task, torch.device("cpu"))


@pytest.mark.parametrize("ended", [True, False])
def test_codebooks_count_alike_though_a_crop_that_goes_on_has_fewer_of_the_last(ended: bool) -> None:
    task = prior_task(codes_record(code_counts=[[0, 0, 10**9, 0, 0], [1, 1, 1]]), "delayed")
    model = tiny(task.tokens.vocab_size, 20)
    codes = torch.tensor([[2, 2, 2], [0, 1, 2]])
    batch = batch_of([task.tokens.encode(codes, ended=ended)])
    metrics = prior_metrics(model, [batch], task, torch.device("cpu"))
    assert metrics["memoryless_nats_per_code"] == pytest.approx(math.log(3) / 2, rel=1e-4)
    assert metrics["prior_bits_per_second"] == pytest.approx(metrics["bits_per_code"] * 2 * 100)


def test_upsampling_learns_the_fine_level_by_the_coarse_one() -> None:
    task = prior_task(codes_record(**HIERARCHY, code_counts=COUNTS), "delayed", 0, 1)
    assert task.tokens == UpsamplingTokens((5, 3), (8,), (1, 3))
    assert task.columns == ("codes_1", "codes_0")
    assert task.levels == (1, 0)
    assert task.counts == COUNTS[:1]
    assert task.unit_rate == pytest.approx(8000 / 240)
    with pytest.raises(ValueError, match="there is no level 2"):
        prior_task(codes_record(**HIERARCHY), "delayed", 2)


def test_the_order_is_seen_only_as_far_as_it_is_written() -> None:
    tokens = CodeTokens((7, 4, 3), "delayed")
    codes = torch.zeros(3, 8, dtype=torch.int64)
    model = tiny(tokens.vocab_size, tokens.length(8)).eval()
    changed = codes.clone()
    changed[0, 4] = 1
    before, after = (model(tokens.encode(item)[None]).logits[0] for item in (codes, changed))
    moved = (before != after).any(dim=1).nonzero()[:, 0]
    place = 1 + 4 * 3  # begin, then four whole steps
    assert moved[0] == place
    assert int((tokens.encode(codes) != tokens.encode(changed)).nonzero()) == place


@pytest.mark.parametrize(
    ("model_type", "options", "message"),
    [
        ("gpt", {}, "`model_type` 'gpt' is unknown"),
        ("t5", {}, "`model_type` 't5' is not a causal language model"),
        ("bert", TINY_BERT | {"is_decoder": False}, "a bert with this configuration is not causal"),
        ("gpt2", {"layers": 3}, "gpt2 has no option layers; use .*n_layer"),
        ("gpt2", {"n_positions": 10}, "is 10 tokens, but a crop has 20"),
        ("llama", {"max_position_embeddings": 10}, "is 10 tokens, but a crop has 20"),
    ],
)
def test_models_that_cannot_be_are_refused(model_type: str, options: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        new_prior(model_type, options, 30, 20)


def test_the_context_is_as_long_as_the_crops_unless_told() -> None:
    assert tiny(30, 77).config.n_positions == 77
    assert tiny(30, 77, "llama").config.max_position_embeddings == 77
    assert new_prior("gpt2", GPT2 | {"n_positions": 99}, 30, 77).config.n_positions == 99
    assert tiny(30, 77).generation_config.bos_token_id == BOS
    assert (tiny(30, 77).generation_config.top_k, tiny(30, 77).generation_config.max_length) == (0, 77)


def test_an_encoder_is_made_to_look_back_only() -> None:
    assert new_prior("bert", TINY_BERT, 30, 20).config.is_decoder


def test_a_model_to_go_on_with_has_to_fit(tmp_path: Path) -> None:
    tokens = CodeTokens((7, 4), "delayed")
    tiny(tokens.vocab_size, 30).save_pretrained(tmp_path)

    def loaded(wanted: CodeTokens | UpsamplingTokens, length: int = 20) -> GPT2LMHeadModel:
        return pretrained_prior(str(tmp_path), wanted, length, subfolder=None, revision=None)

    assert loaded(tokens).generation_config.max_length == 20
    with pytest.raises(ValueError, match="has 16 ids, but the codes need 15"):
        loaded(CodeTokens((6, 4), "delayed"))
    with pytest.raises(ValueError, match="is 30 tokens, but a crop has 31; increase `max_position_embeddings`"):
        loaded(tokens, 31)
    save_tokens(tmp_path, tokens, CodesInfo("m", "0", (), (50.0,), 8))
    assert loaded(tokens).training is False
    with pytest.raises(ValueError, match="was trained with `order` 'delayed', not 'flattened'; .* Train a new one"):
        loaded(CodeTokens((7, 4), "flattened"))
    with pytest.raises(ValueError, match=r"`codebook_sizes` \(7, 4\), not \(4, 7\)"):
        loaded(CodeTokens((4, 7), "delayed"))
    with pytest.raises(ValueError, match="generates CodeTokens, but the codes are UpsamplingTokens"):
        loaded(UpsamplingTokens((7,), (4,), (1, 2)))
