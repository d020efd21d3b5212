"""What every adapter of a published class with codes promises."""

import copy
import json
import shutil
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
import yaml

from hf_audio_vae.models import load_autoencoder, model_arguments, new_autoencoder
from hf_audio_vae.models.fingerprint import model_fingerprint
from hf_audio_vae.models.peers import PEERS
from hf_audio_vae.models.peers.codec import PeerCodec
from tests.models.peers.test_peers import peer, waveform
from tests.models.peers.tiny import TINY, buildable
from tests.models.peers.tiny_models import CodecFacts
from tests.models.probes import seeded

NAMES = buildable(name for name, model_class in PEERS.items() if issubclass(model_class, PeerCodec))


def facts(name: str) -> CodecFacts:
    found = TINY[name].codec
    assert found is not None, f"TINY[{name!r}] lacks the facts of a codec"
    return found


@torch.no_grad()
@pytest.mark.parametrize("name", NAMES)
def test_codes_and_audio_equal_those_of_the_original(name: str) -> None:
    model = peer(name)
    for frames in facts(name).kept_frames:
        x = waveform(model, int(frames * model.hop_length), batch=2, seed=4)
        codes, audio = facts(name).reference(model.original, x)
        encoded = model.encode(x)
        assert encoded.audio_codes.dtype == torch.int64
        assert torch.equal(encoded.audio_codes, codes.long())
        assert float(audio.std()) > 1e-3
        audio, decoded = audio[..., : x.shape[-1]], model.decode(codes.long()).audio_values[..., : x.shape[-1]]
        for ours in (model(x).sample, decoded):
            assert float((ours - audio).abs().max()) < 1e-6
    assert len(codes.unique()) > 4
    assert not torch.equal(codes[0], codes[1])


@torch.no_grad()
@pytest.mark.parametrize("name", NAMES)
def test_the_latents_of_codes_are_what_the_decoder_reads(name: str) -> None:
    model = peer(name)
    codes = model.encode(waveform(model, int(facts(name).kept_frames[-1] * model.hop_length), seed=4)).audio_codes
    (latents,) = model.latents_of_codes(codes)
    assert latents.shape[-1] == codes.shape[-1] and latents.std() > 0
    assert torch.equal(latents, model.decodings()[0].before(codes))


@pytest.mark.parametrize("name", NAMES)
def test_a_published_model_has_its_rates_and_codebooks(name: str) -> None:
    with torch.device("meta"):
        model: Any = PEERS[name].from_arguments(facts(name).published)
    assert (model.sampling_rate, model.hop_length, model.codebook_sizes) == facts(name).rates


@torch.no_grad()
@pytest.mark.parametrize("name", NAMES)
def test_the_first_codebooks_are_those_of_all(name: str) -> None:
    model = peer(name)
    x = waveform(model, 7 * model.hop_length)
    codes = model.encode(x).audio_codes
    for count in range(1, model.num_codebooks + 1):
        first = model.encode(x, num_codebooks=count).audio_codes
        assert torch.equal(first, codes[:, :count])
        assert model.decode(first).audio_values.shape == x.shape
        assert torch.equal(model(x, num_codebooks=count).audio_codes, first)
    for count in (0, model.num_codebooks + 1):
        with pytest.raises(ValueError, match="num_codebooks"):
            model.encode(x, num_codebooks=count)


@torch.no_grad()
@pytest.mark.parametrize("name", NAMES)
def test_codes_out_of_range_are_refused(name: str) -> None:
    model = peer(name)
    codes = torch.zeros(1, model.num_codebooks, 3, dtype=torch.int64)
    for wrong in (-1, model.codebook_sizes[0]):
        codes[:, 0, 1] = wrong
        with pytest.raises(ValueError, match="range|codes"):
            model.decode(codes)


@torch.no_grad()
@pytest.mark.parametrize("name", NAMES)
def test_marked_padding_changes_nothing(name: str) -> None:
    model = peer(name)
    time = 3 * model.hop_length + 1
    x = waveform(model, 6 * model.hop_length, batch=2)
    mask = torch.ones(2, x.shape[-1], dtype=torch.bool)
    mask[1, time:] = False
    encoded = model.encode(x, mask)
    assert torch.equal(encoded.audio_codes[1:, :, :4], model.encode(x[1:, :, :time]).audio_codes)
    assert encoded.audio_codes_mask.sum(dim=1).tolist() == [6, 4]


@pytest.mark.parametrize("name", NAMES)
def test_training_reaches_the_encoder_and_is_deterministic_in_its_codes(name: str) -> None:
    model = peer(name).train()
    x = waveform(model, 24 * model.hop_length).requires_grad_()
    first, second = model(x), model(x)
    assert torch.equal(first.audio_codes, second.audio_codes)
    first.sample.square().mean().backward()
    assert x.grad is not None and float(x.grad.abs().max()) > 0


@torch.no_grad()
@pytest.mark.parametrize("name", NAMES)
def test_codes_follow_the_weights(name: str) -> None:
    """Nothing is kept from earlier calls: a model that has run computes what a new one with its weights does."""
    model, other = peer(name), peer(name)
    x = waveform(model, 7 * model.hop_length)
    for key, value in other.original.state_dict().items():
        if value.is_floating_point():
            value.add_(
                0.2 * value.std() * torch.randn(value.shape, generator=seeded(len(key))) if value.numel() > 1 else 0
            )
    model(x)
    before = model.encode(x).audio_codes
    model.original.load_state_dict(other.original.state_dict())
    assert torch.equal(model.encode(x).audio_codes, other.encode(x).audio_codes)
    assert not torch.equal(model.encode(x).audio_codes, before)
    duplicate = copy.deepcopy(model)
    assert torch.equal(duplicate(x).sample, model(x).sample)
    assert duplicate.double()(x.double()).sample.dtype == torch.float64


@torch.no_grad()
@pytest.mark.parametrize("name", NAMES)
def test_what_has_no_other_form_says_so_in_one_line(name: str) -> None:
    model = peer(name)
    for call in (model.streaming, model.graph_parts):
        with pytest.raises(ValueError, match="signal|length") as refusal:
            call()
        assert "\n" not in str(refusal.value)


@torch.no_grad()
@pytest.mark.parametrize("name", NAMES)
def test_half_precision_is_kept_and_the_function_has_one_name(name: str, tmp_path: Path) -> None:
    model = peer(name)
    x = waveform(model, 7 * model.hop_length)
    model.save_pretrained(tmp_path)
    loaded = load_autoencoder(tmp_path)
    assert model_fingerprint(loaded) == model_fingerprint(model)
    half = load_autoencoder(tmp_path, torch_dtype=torch.bfloat16)
    half.save_pretrained(tmp_path)
    for same in (half, load_autoencoder(tmp_path, torch_dtype="bfloat16")):
        output = same(x)
        assert output.sample.dtype == same.decode(output.audio_codes).audio_values.dtype == torch.bfloat16
        assert output.sample.isfinite().all()
    whole = load_autoencoder(tmp_path)
    assert {value.dtype for value in whole.parameters()} == {torch.float32}
    assert whole(x).sample.dtype == torch.float32


@pytest.mark.parametrize("name", NAMES)
def test_a_model_gives_the_arguments_for_another(name: str) -> None:
    model = peer(name)
    arguments = yaml.safe_load(yaml.safe_dump(model_arguments(model)))
    assert not arguments.keys() & {"transformers_version", "dtype", "architectures"}
    with torch.device("meta"):
        other = PEERS[name].from_arguments(arguments)
    assert {key: v.shape for key, v in other.state_dict().items()} == {
        k: v.shape for k, v in model.state_dict().items()
    }
    assert other.function_config() == model.function_config()


def test_the_published_mimi_refuses_chunks() -> None:
    with torch.device("meta"):
        model = PEERS["MimiModel"].from_arguments({})
    with pytest.raises(ValueError, match="attend to 996 earlier frames"):
        model.enable_tiling(8)


@pytest.mark.skipif(bool(find_spec("torchaudio")), reason="torchaudio is installed")
def test_a_missing_library_is_named_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"architectures": ["HiggsAudioV2TokenizerModel"]}))
    for call in (partial(load_autoencoder, tmp_path), partial(new_autoencoder, "HiggsAudioV2TokenizerModel", {})):
        with pytest.raises(ModuleNotFoundError, match="pip install torchaudio") as refusal:
            call()
        assert "\n" not in str(refusal.value)


def test_frames_that_cannot_be_joined_are_refused() -> None:
    acoustic = {"downsampling_ratios": [8, 5, 4], "upsampling_ratios": [8, 5, 4]}
    with torch.device("meta"), pytest.raises(ValueError, match="160 samples per frame, the semantic one 320"):
        PEERS["XcodecModel"].from_arguments({"acoustic_model_config": acoustic})


def test_the_preprocessor_of_the_original_is_kept(tmp_path: Path) -> None:
    name = "MimiModel"
    model = peer(name)
    model.save_pretrained(tmp_path / "bare")
    assert not (tmp_path / "bare/preprocessor_config.json").exists()
    model.save_pretrained(tmp_path / "inner" / "codec")
    transformers.EncodecFeatureExtractor(sampling_rate=1600).save_pretrained(tmp_path / "inner" / "codec")
    for location in ({"name": str(tmp_path / "inner/codec")}, {"name": str(tmp_path / "inner"), "subfolder": "codec"}):
        loaded = copy.deepcopy(PEERS[name].load(**location))
        loaded.save_pretrained(tmp_path / "again")
        extractor = transformers.AutoFeatureExtractor.from_pretrained(tmp_path / "again")
        assert extractor.sampling_rate == 1600
        shutil.rmtree(tmp_path / "again")
