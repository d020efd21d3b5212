import math
from typing import Any

import pytest
import torch

from hf_audio_vae import TokenVAE
from hf_audio_vae.data.codes import TokenBatch
from hf_audio_vae.losses import FreeBits
from hf_audio_vae.tokens import CodeTokens
from hf_audio_vae.tokens.code_tokens import BLANK, BOS, EOS, FIRST_CODE, PAD
from hf_audio_vae.training.token_prior.objective import prior_task
from hf_audio_vae.training.token_vae.config import TokenVAETrainingConfig
from hf_audio_vae.training.token_vae.model import build_token_vae
from hf_audio_vae.training.token_vae.objective import (
    TokenVAEObjective,
    drop_words,
    latents_warning,
    token_vae_metrics,
)
from hf_audio_vae.training.weights import AnnealedWeight
from tests.data.code_data import codes_record
from tests.models.token_vae.tiny import tiny_token_vae
from tests.training.token_prior.test_token_prior import batch_of

TOKENS = CodeTokens((5, 3), "delayed")
TASK = prior_task(codes_record(code_counts=[[1] * 5, [1] * 3]))
SIZES = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
RECIPE = {
    "output_dir": "out",
    "dataset_name": "train",
    "validation_dataset_name": "held_out",
    "segment_seconds": 0.1,
    "max_train_steps": 1,
    "encoder": {"model_type": "bert", "intermediate_size": 32, **SIZES},
    "decoder": {"model_type": "gpt2", **SIZES},
    "model": {"latent_channels": 4},
}


def config_of(**changes: Any) -> TokenVAETrainingConfig:
    return TokenVAETrainingConfig(**RECIPE | changes)


def constant(*values: int, frames: int = 6) -> TokenBatch:
    """Sequences of one code each: nothing before the first code tells it."""
    codes = [torch.full((2, frames), value) % torch.tensor([[5], [3]]) for value in values]
    return batch_of([TOKENS.encode(item) for item in codes])


def metrics_of(model: TokenVAE, *values: int) -> dict[str, float]:
    return token_vae_metrics(model, [constant(value) for value in values], TASK, torch.device("cpu"))


def test_the_step_of_a_weight_of_one_is_the_elbo() -> None:
    model, batch = tiny_token_vae(vocab_size=TOKENS.vocab_size).eval(), constant(0, 3)
    torch.manual_seed(5)
    step = TokenVAEObjective(model, 1.0)(batch, 0)
    torch.manual_seed(5)
    expected = model(batch.input_ids, labels=batch.labels, sample_posterior=True).loss
    torch.testing.assert_close(step.losses["model"], expected, rtol=1e-6, atol=0)
    logged = step.logged
    torch.testing.assert_close(logged["loss"], logged["nats_per_token"] + logged["kl_nats_per_token"])
    assert logged["kl"].item() == pytest.approx(2 * step.measured["kl"].sum().item(), rel=1e-5)  # two latents


def test_each_channel_has_its_own_weight_and_the_control_hears_the_kl_of_a_latent() -> None:
    model, batch = tiny_token_vae(vocab_size=TOKENS.vocab_size).eval(), constant(0, 3)
    control = FreeBits(1.0, bits=1.0)
    objective = TokenVAEObjective(model, control)
    objective.end_step({"kl": [9.0, 0.0, 0.0, 9.0]})
    step = objective(batch, 0)
    kl = model.encode(batch.input_ids).latent_dist.kl()[:, [0, 3]].sum(dim=(1, 2))
    tokens = (batch.labels[:, 1:] >= 0).sum(dim=1)
    torch.testing.assert_close(step.logged["loss"] - step.logged["nats_per_token"], (kl / tokens).mean())
    assert step.logged["kl_weight"].item() == 0.5
    restored = TokenVAEObjective(model, FreeBits(1.0, bits=1.0))
    restored.load_state_dict(objective.state_dict())
    assert restored.kl_weight(0).tolist() == control(0).tolist()  # type: ignore[operator, union-attr]


def test_dropped_words_are_a_share_of_the_codes() -> None:
    ids = torch.tensor([[BOS, BLANK, *range(FIRST_CODE, FIRST_CODE + 6), EOS, PAD]]).repeat(500, 1)
    dropped = drop_words(ids, 0.3, torch.Generator().manual_seed(0))
    assert torch.equal(dropped[ids < FIRST_CODE], ids[ids < FIRST_CODE])
    of_codes = dropped[ids >= FIRST_CODE]
    assert (of_codes == PAD).float().mean().item() == pytest.approx(0.3, abs=0.03)  # 3000 draws: 3.5 standard errors
    assert ((of_codes == PAD) | (of_codes == ids[ids >= FIRST_CODE])).all()
    assert drop_words(ids, 0.0) is ids


def test_what_the_latents_tell_is_measured_in_nats() -> None:
    torch.manual_seed(0)
    model = build_token_vae(config_of(), TOKENS, 16).train()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    objective, batch = TokenVAEObjective(model, 0.1), constant(0, 1, 2, 3, 4)
    before = metrics_of(model, 0, 1, 2, 3, 4)
    for step in range(80):
        optimizer.zero_grad()
        objective(batch, step).losses["model"].backward()
        optimizer.step()
    after = metrics_of(model, 0, 1, 2, 3, 4)
    assert latents_warning(after, 0.1) is None
    assert after["latent_gain"] > 0.1
    assert after["nats_per_code"] < 0.3 * before["nats_per_code"]
    assert 1.0 < after["mutual_information"] <= math.log(5)
    assert after["mutual_information_limit"] == pytest.approx(math.log(5))
    codes = 12  # of a sequence
    assert after["elbo_nats_per_code"] == pytest.approx(after["nats_per_code"] + after["kl_nats"] / codes)
    assert after["memoryless_nats_per_code"] == pytest.approx((math.log(5) + math.log(3)) / 2, rel=1e-5)
    assert model.training
    warning = latents_warning(before, 0.1)
    assert warning is not None and "\n" not in warning
    assert "the decoder ignores the latents: with another item's, a held-out code costs only" in warning


def test_a_deaf_decoder_gains_nothing_and_one_sequence_cannot_be_compared() -> None:
    model = tiny_token_vae(vocab_size=TOKENS.vocab_size)
    model.conditioning.projection.weight.data.zero_()
    metrics = metrics_of(model, 0, 1, 2)
    assert metrics["latent_gain"] == pytest.approx(0, abs=1e-6)
    assert metrics["nats_per_code"] == pytest.approx(metrics["nats_per_code_of_other_latents"])
    with pytest.raises(ValueError, match="there are 1 validation sequences; give 2 or more"):
        metrics_of(model, 0)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"encoder": {"model_type": "bart"}}, "`encoder` is a bart, an encoder with a decoder"),
        ({"encoder": {"model_type": "gpt2", **SIZES}}, "the encoder, a gpt2, does not read later tokens"),
        ({"decoder": {"model_type": "t5"}}, "`model_type` 't5' is not a causal language model"),
        ({"decoder": {"model_type": "gpt"}}, "`model_type` 'gpt' is unknown to transformers"),
        ({"decoder": {"model_type": "gpt2", "layers": 2}}, "gpt2 has no option layers"),
        ({"decoder": {"model_type": "gpt2", "n_positions": 10, **SIZES}}, "reads 10 tokens, but a crop has 16"),
        ({"model": {"latent_channels": 0}}, "`latent_channels` is 0"),
        ({"model": {"conditioning": "cross"}}, "`conditioning` is 'cross'"),
        ({"model": {"latent_channels": "four"}}, "cannot be built"),
    ],
)
def test_models_that_cannot_be_are_refused_in_one_line(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        build_token_vae(config_of(**changes), TOKENS, 16)
    assert "\n" not in str(caught.value)


def test_parts_have_a_type_and_no_derived_options() -> None:
    for changes, message in (
        ({"encoder": {"hidden_size": 8}}, "`encoder` has no `model_type`"),
        ({"decoder": {"model_type": "gpt2", "vocab_size": 8}}, "derived from the codes"),
        ({"encoder_name_or_path": "bert"}, "give both `encoder_name_or_path` and `decoder_name_or_path`"),
    ):
        with pytest.raises(ValueError, match=message):
            config_of(**changes)


def test_a_prefix_has_its_place_in_the_context() -> None:
    model = build_token_vae(config_of(model={"conditioning": "prefix", "num_latents": 3}), TOKENS, 16)
    assert model.config.max_tokens == 16
    assert (model.config.encoder.max_position_embeddings, model.config.decoder.n_positions) == (16, 19)
    assert (model.generation_config.top_k, model.generation_config.max_length) == (0, 16)


def test_a_weight_may_start_late() -> None:
    weight = AnnealedWeight(schedule="cyclical", weight=1.0, steps=10, start_step=20).build()
    assert [weight(step) for step in (0, 20, 25, 29, 30, 35)] == [0.0, 0.0, 1.0, 1.0, 0.0, 1.0]
