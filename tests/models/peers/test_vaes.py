"""What every adapter of a published class with latents promises; original classes are the reference."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from hf_audio_vae.audio import write_audio
from hf_audio_vae.cli.main import main
from hf_audio_vae.evaluation import health_of
from hf_audio_vae.models import VariationalAutoencoderMixin, load_autoencoder
from hf_audio_vae.models.exporting import export_model
from hf_audio_vae.models.fingerprint import model_fingerprint
from hf_audio_vae.models.graph_files import TORCH
from hf_audio_vae.models.peers import PEERS
from tests.models.peers.test_peers import peer, waveform
from tests.models.peers.tiny import TINY
from tests.models.peers.tiny_models import VAEFacts
from tests.models.probes import seeded

FACTS: dict[str, VAEFacts] = {name: tiny.vae for name, tiny in TINY.items() if tiny.vae}
NAMES = sorted(FACTS)
GLOBAL = "every output depends on the whole signal"
# Cosmos3 scales to this peak before it encodes, up to the small number that it adds; the others do not scale.
PEAK = 0.95 - 1e-5


def test_every_class_with_latents_is_tested() -> None:
    assert FACTS.keys() == {name for name in TINY if issubclass(PEERS[name], VariationalAutoencoderMixin)}


@torch.no_grad()
@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("frames", [1, 2, 17])
def test_values_equal_the_originals(name: str, frames: int) -> None:
    model = peer(name)
    x = waveform(model, frames * model.hop_length)
    x *= PEAK / x.abs().max()
    mean, std, sample = FACTS[name].reference(model.original, x)
    posterior = model.encode(x).latent_dist
    assert posterior.has_density == (std is not None)
    tolerance = {"rtol": 1e-6, "atol": 1e-6} if name == "Cosmos3AVAEAudioTokenizer" else {"rtol": 0.0, "atol": 0.0}
    torch.testing.assert_close(posterior.mode(), mean, **tolerance)
    torch.testing.assert_close(model.decode(mean).sample, sample, rtol=0.0, atol=0.0)
    if std is None:
        assert torch.equal(posterior.sample(seeded(1)), mean)
    else:  # LongCat's is computed from its samples
        torch.testing.assert_close(posterior.std, std, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("name", NAMES)
def test_the_published_model_has_its_rates(name: str) -> None:
    facts = FACTS[name]
    with torch.device("meta"):
        model: Any = PEERS[name].from_arguments(facts.published)
    assert (model.hop_length, model.latent_channels) == facts.rates


@torch.no_grad()
@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_graphs_hold_for_other_lengths(name: str, tmp_path: Path) -> None:
    """`export_model` runs the graphs on two lengths and raises an error where they differ."""
    model = peer(name)
    differences = export_model(model, tmp_path, file_format=TORCH)
    assert [path.name for path in differences] == ["encoder.pt2", "decoder.pt2"]
    encoder = torch.export.load(tmp_path / "encoder.pt2").module()
    x = waveform(model, 9 * model.hop_length + 1)
    torch.testing.assert_close(encoder(x)[0], model.encode(x).latent_dist.mode(), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", NAMES)
def test_streaming_is_refused_with_the_reason(name: str) -> None:
    with pytest.raises(ValueError, match=f"{name} has no streaming form, since .* as a whole"):
        peer(name).streaming()


@torch.no_grad()
@pytest.mark.parametrize("name", NAMES)
def test_the_latency_is_that_of_the_dependence_or_refused(name: str) -> None:
    """The reconstruction of a sample does not change with samples that come later than the latency says."""
    model = peer(name)
    if reason := TINY[name].refuses_chunks:
        with pytest.raises(ValueError, match=f"{GLOBAL}.*{reason}"):
            _ = model.algorithmic_latency
        return
    x = waveform(model, 100 * model.hop_length)
    sample = 40 * model.hop_length + 3
    known = sample + model.algorithmic_latency.total
    later = torch.cat([x[..., :known], -x[..., known:]], dim=-1)
    one, other = (model(y).sample[..., : sample + 1] for y in (x, later))
    torch.testing.assert_close(other, one, rtol=1e-4, atol=1e-5)
    assert not torch.equal(model(later).sample[..., known:], model(x).sample[..., known:])


@torch.no_grad()
@pytest.mark.parametrize("name", NAMES)
def test_statistics_of_latents_are_finite(name: str) -> None:
    model = peer(name)
    health = health_of(model)
    for seed in range(3):
        health.add(model.encode(waveform(model, 40 * model.hop_length, seed=seed)))
    json.dumps(health.numbers(), allow_nan=False)
    table = health.table() + str(health.summary())
    assert "inf" not in table and "nan" not in table
    health.figure().canvas.draw()
    assert ("bits_per_second" in health.summary()) == model.encode(waveform(model, 9)).latent_dist.has_density


def test_commands_describe_latents_without_noise_and_refuse_to_stream(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = peer("VibeVoiceAcousticTokenizerModel")
    model.save_pretrained(tmp_path / "model")
    (tmp_path / "sounds").mkdir()
    sound = tmp_path / "sounds/noise.wav"
    write_audio(sound, waveform(model, 6000)[0], model.sampling_rate)
    inspected = ["--dataset_name", str(tmp_path / "sounds"), "--output_dir", str(tmp_path / "report")]
    assert main(["inspect", str(tmp_path / "model"), *inspected]) == 0
    assert "active channels" in capsys.readouterr().out
    report = (tmp_path / "report/latents.json").read_text()
    assert "Infinity" not in report and "NaN" not in report and json.loads(report)["frames"] == 150
    assert main(["stream", str(sound), "--model", str(tmp_path / "model"), "--output_dir", str(tmp_path)]) != 0
    assert "has no streaming form" in capsys.readouterr().err


@pytest.mark.parametrize("name", NAMES)
def test_statistics_of_latents_are_saved_only_by_a_class_that_has_them(name: str, tmp_path: Path) -> None:
    model = peer(name)
    fingerprint = model_fingerprint(model)
    model.register_to_config(latents_mean=[0.5] * model.latent_channels, latents_std=[2.0] * model.latent_channels)
    latents = torch.ones(1, model.latent_channels, 2)
    torch.testing.assert_close(model.normalize_latents(latents), 0.25 * latents)
    model.save_pretrained(tmp_path)
    loaded: Any = load_autoencoder(tmp_path)
    kept = "latents_mean" in model.argument_names()
    assert (loaded.config.latents_mean is not None) == kept
    assert model_fingerprint(loaded) == model_fingerprint(model) == fingerprint
    assert ("latents_mean" in json.loads((tmp_path / "config.json").read_text())) == kept


def test_statistics_of_the_original_normalize_latents() -> None:
    model = peer("AutoencoderKLMiniMaxH3Audio")
    arguments = TINY["AutoencoderKLMiniMaxH3Audio"].arguments
    latents = torch.randn(2, 4, 5, generator=seeded(0))
    mean, std = (torch.tensor(arguments[f"latents_{name}"])[:, None] for name in ("mean", "std"))
    torch.testing.assert_close(model.normalize_latents(latents), (latents - mean) / std)


@pytest.mark.parametrize(
    ("name", "argument"),
    [
        ("Cosmos3AVAEAudioTokenizer", {"encoder_enabled": False}),
        ("PocketTTSAudioTokenizerModel", {"encoder_config": None}),
        ("PocketTTSAudioTokenizerModel", {"decoder_config": None}),
    ],
)
def test_half_a_model_is_refused(name: str, argument: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="has no (encoder|decoder)"):
        PEERS[name].from_arguments({**TINY[name].arguments, **argument})
