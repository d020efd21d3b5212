import copy
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import AutoConfig, AutoModel, AutoModelForCausalLM

from hf_audio_vae import TokenVAE, TokenVAEConfig
from hf_audio_vae.files.loading import load_checked
from hf_audio_vae.models.token_vae.conditioning import ADDED
from hf_audio_vae.modules.distributions import DiagonalGaussian
from hf_audio_vae.tokens import CodeTokens
from hf_audio_vae.tokens.constraint import CodeConstraint
from tests.models.saved_contract import SavedContract
from tests.models.token_vae.tiny import tiny_config, tiny_token_vae

PAIRS = [
    (("bert", "gpt2"), "in_attention"),
    (("bert", "gpt2"), "prefix"),
    (("modernbert", "llama"), "in_attention"),
    (("bert", "bert"), "prefix"),
]
WAYS = ("prefix", "in_attention")


def sequences(*lengths: int) -> Tensor:
    """Ids of codes after begin, padded with 0."""
    generator = torch.Generator().manual_seed(3)
    rows = torch.randint(5, 15, (len(lengths), max(lengths)), generator=generator)
    rows[:, 0] = 1
    return rows * (torch.arange(rows.shape[1]) < torch.tensor(lengths)[:, None])


def close(actual: Tensor, expected: Tensor) -> None:
    torch.testing.assert_close(actual, expected, rtol=1e-4, atol=1e-5)


class TestTokenVAE(SavedContract):
    model_class = TokenVAE

    @staticmethod
    def tiny_model() -> TokenVAE:
        return tiny_token_vae(num_layers=1)


@pytest.mark.parametrize(("pair", "way"), PAIRS)
class TestAnyPair:
    """What holds for every encoder, decoder and way of conditioning."""

    @torch.no_grad()
    def test_an_item_does_not_depend_on_its_batch_or_padding(self, pair: tuple[str, str], way: str) -> None:
        model, ids = tiny_token_vae(*pair, conditioning=way), sequences(9, 4)
        both, labels = model(ids, labels=ids.masked_fill(ids == 0, -100)), ids[1:, :4]
        alone = model(labels, labels=labels)
        close(both.latent_dist.mean[1:], alone.latent_dist.mean)
        close(both.latent_dist.std[1:], alone.latent_dist.std)
        close(both.logits[1:, :4], alone.logits)
        first = model(ids[:1], labels=ids[:1])
        close(both.loss, (first.loss + alone.loss) / 2)
        assert torch.equal(model(ids).logits, model(ids).logits)

    @torch.no_grad()
    def test_the_decoder_is_causal_and_reads_the_latents(self, pair: tuple[str, str], way: str) -> None:
        model, ids = tiny_token_vae(*pair, conditioning=way), sequences(9)
        latents = model.sample_latents(1, torch.Generator().manual_seed(0))
        logits, changed = model(ids, latents=latents).logits, ids.clone()
        changed[:, 5] = 14 - changed[:, 5] % 5
        after = model(changed, latents=latents).logits
        close(after[:, :5], logits[:, :5])
        assert (after[:, 5:] - logits[:, 5:]).abs().max() > 1e-3
        for item in range(2):  # every latent reaches every token
            other = latents.clone()
            other[:, :, item] += 1
            assert ((model(ids, latents=other).logits - logits).abs().amax(dim=2) > 1e-3).all()
        assert logits.shape == (1, 9, 15)

    @torch.no_grad()
    def test_the_encoder_reads_all_tokens(self, pair: tuple[str, str], way: str) -> None:
        model, ids = tiny_token_vae(*pair, conditioning=way), sequences(9)
        mean = model.encode(ids).latent_dist.mean
        for position in range(9):
            changed = ids.clone()
            changed[:, position] = 5 + (ids[:, position] - 4) % 10
            assert not torch.equal(model.encode(changed).latent_dist.mean, mean)

    @torch.no_grad()
    def test_generation_with_cache_equals_generation_without(self, pair: tuple[str, str], way: str) -> None:
        model = tiny_token_vae(*pair, conditioning=way)
        latents = model.sample_latents(3, torch.Generator().manual_seed(0))
        options = {"do_sample": False, "max_new_tokens": 12, "eos_token_id": None}
        made = model.generate(latents=latents, **options)
        assert made.shape == (3, 13)
        assert len({tuple(row.tolist()) for row in made}) > 1
        assert torch.equal(made, model.generate(latents=latents, use_cache=False, **options))
        steps = torch.full((3, 1), 1)
        for _ in range(12):
            steps = torch.cat([steps, model(steps, latents=latents).logits[:, -1:].argmax(-1)], dim=1)
        assert torch.equal(made, steps)

    @torch.no_grad()
    def test_a_prompt_may_be_padded_on_the_left(self, pair: tuple[str, str], way: str) -> None:
        model = tiny_token_vae(*pair, conditioning=way)
        latents, prompt = model.sample_latents(1, torch.Generator().manual_seed(0)), sequences(4)
        options = {"do_sample": False, "max_new_tokens": 6, "eos_token_id": None}
        padded = F.pad(prompt, (3, 0))
        made = model.generate(padded, latents=latents, attention_mask=(padded > 0).long(), **options)
        assert torch.equal(made[:, 3:], model.generate(prompt, latents=latents, **options))

    def test_the_gradient_reaches_every_parameter(self, pair: tuple[str, str], way: str) -> None:
        model, ids = tiny_token_vae(*pair, conditioning=way).train(), sequences(20, 20, 20)
        ids[:, 1:11] = torch.arange(5, 15)  # all codes
        model(ids, labels=ids, generator=torch.Generator().manual_seed(0)).loss.backward()
        untouched = {name for name, p in model.named_parameters() if p.grad is None or not p.grad.any()}
        assert not untouched

    def test_gradient_checkpointing_changes_no_gradient(self, pair: tuple[str, str], way: str) -> None:
        ids, gradients = sequences(9, 6), []
        for checkpointing in (False, True):
            model = tiny_token_vae(*pair, conditioning=way).train()
            if checkpointing:
                model.activation_checkpointing_enable()
            model(ids, labels=ids, generator=torch.Generator().manual_seed(0)).loss.backward()
            gradients.append([p.grad for p in model.parameters()])
        for plain, recomputed in zip(*gradients, strict=True):
            close(recomputed, plain)

    @torch.no_grad()
    def test_a_copy_and_a_loaded_model_are_the_model(self, pair: tuple[str, str], way: str, tmp_path: Path) -> None:
        model, ids = tiny_token_vae(*pair, conditioning=way), sequences(9, 4)
        copied = copy.deepcopy(model)
        model.save_pretrained(tmp_path)
        loaded = (TokenVAE.from_pretrained(tmp_path), AutoModel.from_pretrained(tmp_path))
        checked = load_checked(AutoModelForCausalLM, tmp_path)
        logits = model(ids).logits
        model.conditioning.projection.weight.zero_()  # what a copy shares with the original would change
        for other in (copied, *loaded, checked):
            assert type(other) is TokenVAE
            assert torch.equal(other(ids).logits, logits)
        assert type(AutoConfig.from_pretrained(tmp_path)) is TokenVAEConfig


@torch.no_grad()
def test_loss_is_the_elbo_in_nats_a_token() -> None:
    model, ids = tiny_token_vae(), sequences(9)
    labels = ids.clone()
    labels[:, 3] = -100
    out = model(ids, labels=labels)
    nats = F.cross_entropy(out.logits[0, :-1], ids[0, 1:], reduction="none")
    kl = torch.distributions.kl_divergence(
        torch.distributions.Normal(out.latent_dist.mean, out.latent_dist.std), torch.distributions.Normal(0.0, 1.0)
    )
    expected = (nats.sum() - nats[2] + kl.sum()) / 7
    torch.testing.assert_close(out.loss, expected, rtol=1e-5, atol=0)
    given = model(ids, labels=labels, latents=out.latent_dist.mean)
    torch.testing.assert_close(given.loss, (nats.sum() - nats[2]) / 7, rtol=1e-5, atol=0)
    assert given.latent_dist is None


@torch.no_grad()
def test_a_posterior_is_sampled_item_by_item() -> None:
    model, ids = tiny_token_vae(), sequences(9, 4)
    seeds = [torch.Generator().manual_seed(seed) for seed in (1, 2)]
    both = model(ids, generator=seeds).logits
    alone = model(ids[1:, :4], generator=torch.Generator().manual_seed(2)).logits
    close(both[1:, :4], alone)
    assert not torch.allclose(both, model(ids).logits)


@torch.no_grad()
def test_words_that_the_decoder_does_not_read_are_still_encoded() -> None:
    model, ids = tiny_token_vae(), sequences(9)
    dropped = ids.masked_fill(torch.arange(9) > 4, 0)
    out = model(ids, decoder_input_ids=dropped)
    assert torch.equal(out.latent_dist.mean, model.encode(ids).latent_dist.mean)
    assert torch.equal(out.logits, model(dropped, latents=out.latent_dist.mean).logits)


@torch.no_grad()
@pytest.mark.parametrize("way", WAYS)
def test_beams_and_returned_sequences_keep_their_items_latents(way: str) -> None:
    model = tiny_token_vae(conditioning=way)
    latents = model.sample_latents(2, torch.Generator().manual_seed(0))
    options = {"max_new_tokens": 8, "num_beams": 3, "num_return_sequences": 2, "do_sample": False, "pad_token_id": 0}
    made = model.generate(latents=latents, eos_token_id=None, **options)
    for item in range(2):
        alone = model.generate(latents=latents[item : item + 1], eos_token_id=None, **options)
        assert torch.equal(made[2 * item : 2 * item + 2], alone)


@torch.no_grad()
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("order", ["flattened", "delayed", "coarse_to_fine"])
def test_every_point_between_two_sequences_decodes_to_legal_codes(way: str, order: str) -> None:
    tokens = CodeTokens((4, 6), order)  # type: ignore[arg-type]
    model = tiny_token_vae(conditioning=way)
    ids = torch.stack([tokens.encode(torch.full((2, 4), code)) for code in (0, 3)])
    first, last = model.encode(ids).latent_dist.mode()
    between = torch.stack([torch.lerp(first, last, share) for share in torch.linspace(0, 1, 5)])
    for seed in range(2):
        torch.manual_seed(seed)
        made = model.generate(
            latents=between, do_sample=True, max_new_tokens=20, logits_processor=[CodeConstraint(tokens, num_frames=4)]
        )
        assert [tokens.decode(row).shape for row in made] == 5 * [(2, 4)]


@torch.no_grad()
def test_latents_not_given_are_drawn_from_the_prior() -> None:
    model = tiny_token_vae()
    latents = model.sample_latents(4000, torch.Generator().manual_seed(0))
    assert latents.shape == (4000, 4, 2)
    assert abs(latents.mean()) < 0.03 and abs(latents.std() - 1) < 0.03  # 32,000 values: five standard errors
    torch.manual_seed(0)
    made = model.generate(torch.ones(8, 1, dtype=torch.int64), do_sample=False, max_new_tokens=12, eos_token_id=None)
    assert len({tuple(row.tolist()) for row in made}) > 2
    assert model.generate(max_new_tokens=2).shape[0] == 1


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("num_latents", [1, 16])
def test_latents_are_no_larger_than_the_embeddings_of_a_new_model(way: str, num_latents: int) -> None:
    sizes = {"vocab_size": 15, "n_embd": 64, "n_layer": 1, "n_head": 2}
    decoder = {"model_type": "gpt2", **sizes, "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}
    model = TokenVAE(tiny_config(decoder=decoder, conditioning=way, num_latents=num_latents, latent_channels=32))
    seed = torch.Generator().manual_seed(0)
    latents = model.sample_latents(200, seed)
    inputs = model.conditioning.inputs(
        latents, torch.ones(200, 1, dtype=torch.int64), model.get_input_embeddings(), first=True
    )
    added = inputs[ADDED] if way == "in_attention" else inputs["inputs_embeds"][:, :num_latents]
    scale = added.std() / model.get_input_embeddings().weight.std()
    assert 0.8 < scale < 1.25


@pytest.mark.slow
def test_a_model_compiles_into_one_graph() -> None:
    model, ids = tiny_token_vae(), sequences(9)
    latents = model.sample_latents(1)
    compiled = torch.compile(model, backend="eager", fullgraph=True)
    with torch.no_grad():
        close(compiled(ids, latents=latents).logits, model(ids, latents=latents).logits)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"latent_channels": 0}, "`latent_channels` is 0"),
        ({"num_latents": 0}, "`num_latents` is 0"),
        ({"conditioning": "cross"}, "`conditioning` is 'cross'; use one of prefix, in_attention"),
        ({"encoder": {"model_type": "t5"}}, "`encoder` is a t5, an encoder with a decoder"),
        ({"encoder": {"model_type": "vit"}}, "`encoder` is a vit without `vocab_size`"),
        ({"encoder": {"model_type": "bert"}}, "has a `vocab_size` of 30522, the `decoder` of 15; both read"),
        ({"decoder": {"model_type": "llama", "vocab_size": 15}}, "the `decoder` has no `pad_token_id`"),
        ({"num_latents": 23, "conditioning": "prefix"}, "has at most 1 tokens; increase"),
    ],
)
def test_configurations_that_cannot_be_are_refused_in_one_line(changes: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        tiny_config(**changes)
    assert "\n" not in str(caught.value)


def test_the_default_configuration_is_one_of_four_codebooks() -> None:
    config = TokenVAEConfig()
    assert (config.vocab_size, config.max_tokens) == (CodeTokens((256,) * 4).vocab_size, 1024)
    assert TokenVAEConfig(conditioning="prefix", num_latents=4).max_tokens == 1020


@pytest.mark.parametrize(
    ("ids", "latents", "message"),
    [
        (torch.zeros(3, dtype=torch.int64), None, r"`input_ids` has shape \(3,\), expected \(batch, length\)"),
        (torch.zeros(1, 0, dtype=torch.int64), None, r"`input_ids` has shape \(1, 0\)"),
        (torch.ones(1, 3), None, "`input_ids` has dtype torch.float32; convert"),
        (torch.ones(1, 25, dtype=torch.int64), None, "`input_ids` has 25 tokens, the model reads 24; split"),
        (torch.tensor([[1, 15]]), None, "`input_ids` holds ids from 1 to 15, the model has 0 to 14"),
        (torch.tensor([[1]]), torch.zeros(1, 3, 2), "`latents` has 3 channels"),
        (torch.tensor([[1]]), torch.zeros(1, 4, 1), r"`latents` has shape \(1, 4, 1\), expected \(1, 4, 2\)"),
        (torch.tensor([[1]]), torch.zeros(2, 4, 2), r"`latents` has shape \(2, 4, 2\), expected \(1, 4, 2\)"),
        (torch.tensor([[1]]), torch.full((1, 4, 2), torch.nan), "`latents` holds 8 values that are NaN"),
    ],
)
def test_inputs_that_cannot_be_are_refused(ids: Tensor, latents: Tensor | None, message: str) -> None:
    model = tiny_token_vae()
    with pytest.raises(ValueError, match=message):
        model(ids, latents=latents)
    if latents is not None:
        with pytest.raises(ValueError, match=message):
            model.generate(ids, latents=latents)


def test_a_tied_weight_that_is_missing_in_the_file_is_named(tmp_path: Path) -> None:
    tiny_token_vae().save_pretrained(tmp_path)
    weights = load_file(tmp_path / "model.safetensors")
    assert "decoder.lm_head.weight" not in weights
    weights.pop("decoder.transformer.wte.weight")
    save_file(weights, tmp_path / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ValueError, match=r"1 missing: decoder\.transformer\.wte\.weight"):
        TokenVAE.from_pretrained(tmp_path)


def test_a_batch_has_one_posterior_per_item() -> None:
    posterior = tiny_token_vae().encode(sequences(9, 4)).latent_dist
    assert isinstance(posterior, DiagonalGaussian)
    assert posterior.mean.shape == posterior.std.shape == (2, 4, 2)
