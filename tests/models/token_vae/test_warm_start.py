from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoModelForMaskedLM

from hf_audio_vae import TokenVAE
from hf_audio_vae.models.token_vae.warm_start import check_directions, token_vae_from_pretrained
from tests.models.token_vae.tiny import SPECIAL, tiny_config, tiny_token_vae


def saved_parts(folder: Path, *, vocab_size: int = 15) -> tuple[str, str]:
    """Write a masked language model with a head, and a causal one."""
    config = tiny_config(vocab_size=vocab_size)
    torch.manual_seed(1)
    AutoModelForMaskedLM.from_config(config.encoder).save_pretrained(folder / "encoder")
    AutoModelForCausalLM.from_config(config.decoder).save_pretrained(folder / "decoder")
    return str(folder / "encoder"), str(folder / "decoder")


@torch.no_grad()
def test_the_blocks_are_those_of_the_pretrained_models(tmp_path: Path) -> None:
    encoder, decoder = saved_parts(tmp_path)
    model = token_vae_from_pretrained(encoder, decoder, latent_channels=3, conditioning="prefix")
    ids = torch.arange(1, 9)[None]
    hidden = AutoModelForMaskedLM.from_pretrained(encoder).bert(ids).last_hidden_state
    assert torch.equal(model.encoder(ids).last_hidden_state, hidden)
    assert torch.equal(model.decoder(ids).logits, AutoModelForCausalLM.from_pretrained(decoder)(ids).logits)
    assert (model.latent_channels, model.config.conditioning) == (3, "prefix")
    model.save_pretrained(tmp_path / "vae")
    loaded = TokenVAE.from_pretrained(tmp_path / "vae")
    state = model.state_dict()
    assert all(torch.equal(state[name], value) for name, value in loaded.state_dict().items())
    # Loaded weights lie at other addresses, and some processors then sum in another order.
    torch.testing.assert_close(loaded(ids).logits, model(ids).logits)


@torch.no_grad()
def test_other_tokens_get_new_embeddings_and_keep_the_layers(tmp_path: Path) -> None:
    model = token_vae_from_pretrained(*saved_parts(tmp_path), vocab_size=40, special_ids=SPECIAL | {"eos_token_id": 7})
    assert model.config.vocab_size == 40
    assert model.generation_config.eos_token_id == 7
    assert model(torch.tensor([[1, 39]])).logits.shape == (1, 2, 40)
    before = AutoModelForCausalLM.from_pretrained(tmp_path / "decoder").transformer.h.state_dict()
    assert all(torch.equal(value, before[name]) for name, value in model.decoder.transformer.h.state_dict().items())


def test_an_encoder_becomes_a_decoder_and_the_other_way_round_is_refused(tmp_path: Path) -> None:
    encoder, decoder = saved_parts(tmp_path)
    assert token_vae_from_pretrained(encoder, encoder, special_ids=SPECIAL).config.decoder.is_decoder
    with pytest.raises(ValueError, match="the encoder, a gpt2, does not read later tokens; use a bidirectional"):
        token_vae_from_pretrained(decoder, decoder)


def test_a_decoder_that_reads_ahead_or_no_latents_is_refused() -> None:
    config = tiny_config("bert", "bert")
    config.decoder.is_decoder = False
    with pytest.raises(ValueError, match="the decoder, a bert with this configuration, is not causal"):
        check_directions(TokenVAE(config).eval())
    deaf = tiny_token_vae()
    deaf.conditioning.projection.weight.data.zero_()
    with pytest.raises(ValueError, match="does not read the latents; use `conditioning` prefix"):
        check_directions(deaf)
