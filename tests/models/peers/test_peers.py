"""What every adapter of a published class promises; original classes are the reference."""

import copy
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from hf_audio_vae.models import load_autoencoder, new_autoencoder
from hf_audio_vae.models.peers import PEERS
from tests.models.peers.tiny import TINY, buildable
from tests.models.probes import assert_equal_within_rounding, seeded

NAMES = buildable(PEERS)


def test_every_peer_is_tested() -> None:
    assert TINY.keys() == PEERS.keys()


def peer(name: str) -> Any:
    return PEERS[name](TINY[name].new()).eval()


def waveform(model: Any, time: int, batch: int = 1, seed: int = 0) -> Tensor:
    return 0.3 * torch.randn(batch, model.config.audio_channels, time, generator=seeded(seed))


def frames_of(model: Any, x: Tensor) -> Tensor:
    """What `decode` takes: latents, or codes."""
    encoded = model.encode(x)
    return encoded.audio_codes if model.codebook_sizes else encoded.latent_dist.mode()


def decoded(model: Any, frames: Tensor) -> Tensor:
    output = model.decode(frames)
    return output.audio_values if model.codebook_sizes else output.sample


@torch.no_grad()
@pytest.mark.parametrize("name", NAMES)
def test_every_length_is_kept(name: str) -> None:
    model = peer(name)
    assert model.hop_length == TINY[name].hop_length
    hop = model.hop_length
    for time in (1, 2, hop - 1, hop, hop + 1, 3 * hop // 2, 2 * hop, 5 * hop - 1, 5 * hop + 1):
        x = waveform(model, time)
        assert model(x).sample.shape == x.shape
        frames = frames_of(model, x)
        assert frames.shape[-1] == -(-time // hop)
        assert decoded(model, frames).shape == (1, model.config.audio_channels, frames.shape[-1] * hop)


@torch.no_grad()
@pytest.mark.parametrize("name", NAMES)
def test_frames_are_aligned_with_the_samples(name: str) -> None:
    """A sound that starts later by whole frames has the same reconstruction, later by as many samples."""
    if TINY[name].refuses_chunks:
        pytest.skip("every output depends on the whole signal, or on its position")
    model = peer(name)
    hop, count = model.hop_length, 240
    x = waveform(model, count * hop)
    later = torch.cat([torch.zeros_like(x[..., : 8 * hop]), x[..., : -8 * hop]], dim=-1)
    early, late = (decoded(model, frames_of(model, y)) for y in (x, later))
    middle = slice(110 * hop, 122 * hop)
    assert_equal_within_rounding(late[..., 118 * hop : 130 * hop], early[..., middle], operations=1024)


@torch.no_grad()
@pytest.mark.parametrize("name", NAMES)
def test_chunks_are_exact_or_refused_with_the_reason(name: str) -> None:
    model = peer(name)
    if reason := TINY[name].refuses_chunks:
        with pytest.raises(ValueError, match=reason):
            model.enable_tiling(8)
        return
    x = waveform(model, 200 * model.hop_length + 1)
    frames = frames_of(model, x)
    whole = decoded(model, frames)
    model.enable_tiling(8)
    chunked = frames_of(model, x)
    if model.codebook_sizes:
        assert torch.equal(chunked, frames)
    else:
        assert_equal_within_rounding(chunked, frames, operations=1024)
    assert_equal_within_rounding(decoded(model, frames), whole, operations=1024)


@torch.no_grad()
@pytest.mark.parametrize("name", NAMES)
def test_the_original_class_loads_what_is_saved(name: str, tmp_path: Path) -> None:
    model = peer(name)
    next(model.original.parameters()).mul_(1.25)
    model.save_pretrained(tmp_path)
    original = type(model.original).from_pretrained(tmp_path)
    state = model.original.state_dict()
    assert state.keys() == original.state_dict().keys()
    assert all(torch.equal(state[key], value) for key, value in original.state_dict().items())
    x = waveform(model, 9 * model.hop_length)
    loaded = load_autoencoder(tmp_path)
    assert type(loaded) is type(model) and not loaded.training
    assert torch.equal(loaded(x).sample, model(x).sample)
    assert json.loads((tmp_path / "config.json").read_text())


@torch.no_grad()
@pytest.mark.parametrize("name", NAMES)
def test_a_missing_weight_is_named(name: str, tmp_path: Path) -> None:
    model = peer(name)
    model.save_pretrained(tmp_path)
    (path,) = tmp_path.glob("*.safetensors")
    state = load_file(path)
    key = sorted(state)[0]
    del state[key]
    save_file(state, path, metadata={"format": "pt"})
    with pytest.raises(ValueError, match="missing"):
        load_autoencoder(tmp_path)


@pytest.mark.parametrize("name", NAMES)
def test_gradients_reach_every_parameter_with_and_without_checkpointing(name: str) -> None:
    gradients = []
    for checkpointed in (False, True):
        model = peer(name)
        if checkpointed:
            model.enable_gradient_checkpointing()
        x = waveform(model, 12 * model.hop_length)
        output = model(x, generator=seeded(3))
        assert set(model.regulariser_terms) == set(output.losses)
        (output.sample.square().mean() + sum(output.losses.values())).backward()
        missing = [key for key, parameter in model.original.named_parameters() if parameter.grad is None]
        keys = [key for key, _ in model.original.named_parameters()]
        assert missing == [key for key in keys if key.startswith(TINY[name].without_gradient)]
        gradients.append({key: p.grad for key, p in model.original.named_parameters() if p.grad is not None})
    for key, gradient in gradients[0].items():
        assert_equal_within_rounding(gradients[1][key], gradient, operations=1024)


@torch.no_grad()
@pytest.mark.parametrize("name", NAMES)
def test_an_item_does_not_depend_on_its_batch(name: str) -> None:
    model = peer(name)
    x = waveform(model, 12 * model.hop_length, batch=3)
    assert_equal_within_rounding(model(x).sample[1:2], model(x[1:2]).sample, operations=1024)


@torch.no_grad()
@pytest.mark.parametrize("name", NAMES)
def test_wrong_inputs_are_refused(name: str) -> None:
    model = peer(name)
    x = waveform(model, 4 * model.hop_length)
    nan = x.clone()
    nan[..., 3] = torch.nan
    for wrong in (nan, (100 * x).to(torch.int16), x[0], x.repeat(1, 3, 1), x[..., :0]):
        with pytest.raises(ValueError, match="waveform"):
            model.encode(wrong)
    with pytest.raises(ValueError, match="sampling_rate"):
        model.encode(x, sampling_rate=model.sampling_rate + 1)


@torch.no_grad()
@pytest.mark.parametrize("name", NAMES)
def test_a_copy_is_independent_also_after_a_pass_with_gradients(name: str) -> None:
    model = peer(name)
    x = waveform(model, 9 * model.hop_length)
    with torch.enable_grad():
        model(x).sample.sum().backward()
    before = model(x).sample
    duplicate = copy.deepcopy(model)
    for parameter in duplicate.parameters():
        parameter.mul_(1.5)
    assert not torch.equal(duplicate(x).sample, before)
    assert torch.equal(model(x).sample, before)


@pytest.mark.parametrize("name", NAMES)
def test_a_new_model_is_made_from_the_arguments_of_the_original(name: str) -> None:
    arguments = TINY[name].arguments
    model = new_autoencoder(name, arguments)
    assert type(model) is PEERS[name]
    assert model.hop_length == TINY[name].hop_length
    with pytest.raises(ValueError, match="has no argument"):
        new_autoencoder(name, {**arguments, "not_an_argument": 1})


@torch.no_grad()
@pytest.mark.parametrize("name", NAMES)
def test_the_fused_form_agrees(name: str) -> None:
    model = peer(name)
    x = waveform(model, 40 * model.hop_length)
    plain = model(x).sample
    model.fuse()
    assert_equal_within_rounding(model(x).sample, plain, operations=1024)
