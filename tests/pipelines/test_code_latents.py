from pathlib import Path
from typing import get_args

import pytest
import torch

from hf_audio_vae import WaveformVQVAE, WaveformVQVAEConfig
from hf_audio_vae.pipelines import CodeLatents, Prior, Sampling, encode_codes, generate_codes, interpolate_codes
from hf_audio_vae.tokens import CodesInfo, CodeTokens, save_tokens
from hf_audio_vae.tokens.code_tokens import Order
from tests.models.token_vae.tiny import tiny_token_vae
from tests.pipelines.test_token_generation import prior_of

SIZES = (4, 6)
GREEDY = Sampling(do_sample=False)


def vae_prior(order: Order = "delayed", window: int = 5, **changes: object) -> Prior:
    tokens = CodeTokens(SIZES, order)
    model = tiny_token_vae(vocab_size=tokens.vocab_size, **changes)
    return Prior(model, tokens, CodesInfo("somebody/codec", "0" * 64, (), (10.0,), window))


def codes(seed: int, frames: int = 5) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.stack([torch.randint(size, (frames,), generator=generator) for size in SIZES])


@pytest.mark.parametrize(
    ("order", "way"), zip(get_args(Order), ["prefix", "in_attention", "prefix"], strict=True), ids=str
)
def test_sounds_of_any_length_come_from_latents(order: Order, way: str) -> None:
    prior = vae_prior(order, conditioning=way)
    latents = torch.tensor([-9.0, 9.0])[:, None, None] * prior.model.sample_latents(1).sign()
    made = generate_codes(prior, 7, latents=latents, sampling=GREEDY)
    assert made.shape == (2, 2, 7)
    assert bool((made >= 0).all() and (made < torch.tensor(SIZES)[:, None]).all())
    for item in range(2):  # an item has its own latents in all windows
        assert torch.equal(generate_codes(prior, 7, latents=latents[item][None], sampling=GREEDY)[0], made[item])
    assert not torch.equal(made[0], made[1])
    known = made[:, :, :4]
    longer = generate_codes(prior, 6, known=known, latents=latents)
    assert torch.equal(longer[:, :, :4], known)
    with pytest.raises(ValueError, match="`latents` has 2 items, `batch_size` has 3 items; give as many of each"):
        generate_codes(prior, 7, latents=latents, batch_size=3)
    with pytest.raises(ValueError, match="`known` has 1 items, `latents` has 2 items"):
        generate_codes(prior, 7, latents=latents, known=known[:1])


def test_latents_not_given_are_drawn_once_from_the_seed() -> None:
    prior = vae_prior()
    first, again, other = (
        generate_codes(prior, 5, batch_size=2, sampling=GREEDY, generator=torch.Generator().manual_seed(seed))
        for seed in (1, 1, 2)
    )
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_a_line_between_two_sounds_starts_and_ends_at_their_latents() -> None:
    prior, ends = vae_prior(), torch.stack([codes(0), codes(1)])
    made = interpolate_codes(prior, *ends, 3, sampling=GREEDY)
    assert made.shape == (3, 2, 5)
    modes = encode_codes(prior, ends).mode()
    assert torch.equal(made[[0, -1]], generate_codes(prior, 5, latents=modes, sampling=GREEDY))
    middle = generate_codes(prior, 5, latents=modes.mean(dim=0, keepdim=True), sampling=GREEDY)
    assert torch.equal(made[1:2], middle)


def test_a_model_without_latents_is_refused() -> None:
    plain, long = prior_of(CodeTokens(SIZES), 5), codes(0, 6)[None]
    with pytest.raises(ValueError, match="a GPT2LMHeadModel has no latents of codes; use a TokenVAE"):
        encode_codes(plain, codes(0)[None])
    with pytest.raises(ValueError, match="a GPT2LMHeadModel has no latents; leave out `latents`"):
        generate_codes(plain, 5, latents=torch.zeros(1, 4, 2))
    with pytest.raises(ValueError, match="`codes` has 6 frames, the model encodes 1 to 5"):
        encode_codes(vae_prior(), long)
    with pytest.raises(ValueError, match="cut them to one length"):
        interpolate_codes(vae_prior(), codes(0), codes(0, 4), 3)
    with pytest.raises(ValueError, match="`num_points` is 1; give 2 or more"):
        interpolate_codes(vae_prior(), codes(0), codes(1), 1)


def test_a_prior_with_latents_comes_back_from_its_folder(tmp_path: Path) -> None:
    prior = vae_prior()
    prior.model.save_pretrained(tmp_path)
    save_tokens(tmp_path, prior.tokens, prior.info)
    loaded = Prior.from_pretrained(tmp_path)
    assert loaded.has_latents
    latents = prior.model.sample_latents(1)
    assert torch.equal(*(generate_codes(p, 5, latents=latents, sampling=GREEDY) for p in (prior, loaded)))


@torch.no_grad()
def test_a_codec_and_a_token_vae_are_one_vae_of_sound() -> None:
    torch.manual_seed(0)
    config = WaveformVQVAEConfig(
        sampling_rate=100,
        encoder_hidden_size=2,
        decoder_hidden_size=4,
        downsampling_ratios=(2, 5),
        hidden_size=4,
        num_codebooks=2,
        codebook_size=6,
        codebook_dim=None,
        kmeans_start=False,
    )
    codec = WaveformVQVAE(config).eval()
    tokens = CodeTokens((6, 6))
    model = tiny_token_vae(vocab_size=tokens.vocab_size)
    whole = CodeLatents(Prior(model, tokens, CodesInfo("codec", "0", (), (10.0,), 4)), codec)
    assert whole.frame_rate == 5.0  # two latents for 0.4 s
    waveform = torch.randn(2, 1, 100)
    posterior = whole.encode(waveform).latent_dist
    assert posterior.mean.shape == posterior.std.shape == (2, 4, 6)  # windows of 4, 4 and 2 frames
    codes = codec.encode(waveform).audio_codes[:, :, 4:8]
    assert torch.equal(posterior.mean[:, :, 2:4], encode_codes(whole.prior, codes).mean)
