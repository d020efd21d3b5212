"""The page of `doctor`: a healthy model, and each planted defect."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from hf_audio_vae import STFTVAE, WaveformVAE, WaveformVQVAE, WaveformVQVAEConfig
from hf_audio_vae.audio import write_audio
from hf_audio_vae.cli.main import main
from hf_audio_vae.files.location import DEFAULT_MODEL, PRETRAINED
from hf_audio_vae.latents.prior import PRIOR_FILE, LatentPrior
from tests.cli.files import RATE, SPEECH, noise
from tests.cli.test_merge import adapt
from tests.cli.test_token_vae import CODEC
from tests.models.peers.tiny import TINY

WEIGHTS = "diffusion_pytorch_model.safetensors"


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """A copy of the model of this package, to damage."""
    return Path(shutil.copytree(PRETRAINED / DEFAULT_MODEL, tmp_path / "copy"))


def page(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, list[tuple[str, str, str]]]:
    """The exit code, and level, subject and text of each line."""
    code = main(["doctor", *map(str, arguments)])
    out = capsys.readouterr().out
    lines = [line for line in out.splitlines() if line.startswith(("ok ", "warning ", "error "))]
    findings = [tuple(part.strip() for part in line.replace("  ", "\t", 1).split(None, 2)) for line in lines]
    return code, findings  # type: ignore[return-value]


def levels(findings: list[tuple[str, str, str]]) -> dict[str, str]:
    return {subject: level for level, subject, _ in findings}


def test_a_healthy_model_and_its_sound_have_no_errors(capsys: pytest.CaptureFixture[str]) -> None:
    code, findings = page(capsys, DEFAULT_MODEL, SPEECH)
    assert code == 0
    assert {level for level, _, _ in findings} == {"ok"}
    assert {subject for _, subject, _ in findings} == {
        *("weights", "reconstruction", "prior", "statistics", SPEECH.name, "latents", "scale")
    }
    assert "16000 Hz -> 24000 Hz, there is nothing above 8 kHz" in {text for _, _, text in findings}


def test_the_head_says_what_the_model_is(model: str, capsys: pytest.CaptureFixture[str]) -> None:
    main(["doctor", model])
    first, second = capsys.readouterr().out.splitlines()[:2]
    assert first.startswith(f"{model}: WaveformVAE, 0.00 M parameters")
    assert second == (
        f"{RATE} Hz, 1 channel -> 2 latent channels, 400.00 frames per second (hop 20), compression 10.0"
    )


def test_weights_that_are_not_finite(copy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    weights = load_file(copy / WEIGHTS)
    name = next(iter(weights))
    weights[name].view(-1)[0] = torch.nan
    save_file(weights, copy / WEIGHTS, {"format": "pt"})
    code, findings = page(capsys, copy, SPEECH)
    assert code == 1
    ((level, subject, text),) = findings
    assert (level, subject) == ("error", "weights") and name in text


@pytest.mark.parametrize("part", ["encoder", "decoder"])
def test_an_encoder_or_a_decoder_of_other_weights(part: str, copy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = STFTVAE.from_pretrained(copy)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        other = STFTVAE.from_config(model.config)
    getattr(model, part).load_state_dict(getattr(other, part).state_dict())
    model.save_pretrained(copy)
    code, findings = page(capsys, copy)
    assert code == 1
    assert levels(findings)["reconstruction"] == "error"
    assert levels(findings)["prior"] == "error", "it is that of the earlier weights"


def test_missing_weights_and_a_folder_that_does_not_exist(copy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    weights = load_file(copy / WEIGHTS)
    weights.pop(next(iter(weights)))
    save_file(weights, copy / WEIGHTS, {"format": "pt"})
    code, findings = page(capsys, copy)
    assert code == 1 and findings[0][:2] == ("error", "files") and "1 missing" in findings[0][2]
    assert main(["doctor", "/nowhere"]) == 2


def test_statistics_that_are_missing_or_of_another_scale(copy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = json.loads((copy / "config.json").read_text())
    wide = {"latents_std": [10 * value for value in config["latents_std"]]}
    (copy / "config.json").write_text(json.dumps(config | wide))
    code, findings = page(capsys, copy, SPEECH)
    assert code == 0
    found = {subject: (level, text) for level, subject, text in findings}
    assert found["statistics"][0] == "warning" and "by a factor of 10.00" in found["statistics"][1]
    assert found["scale"][0] == "warning" and "measure them again" in found["scale"][1]
    (copy / PRIOR_FILE).unlink()
    (copy / "config.json").write_text(json.dumps(config | {"latents_mean": None, "latents_std": None}))
    code, findings = page(capsys, copy)
    assert code == 0
    assert levels(findings)["statistics"] == "warning"
    assert f"hf-audio-vae statistics {copy} --dataset_name DATA" in str(findings)


def test_a_damaged_prior(copy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (copy / PRIOR_FILE).write_bytes((copy / PRIOR_FILE).read_bytes()[:-8])
    code, findings = page(capsys, copy)
    assert code == 1 and levels(findings)["prior"] == "error"


def test_sounds_that_do_not_suit_the_model(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    second = 24000
    sounds = {
        "silent": torch.zeros(1, second),
        "paused": torch.cat([noise(second // 4), torch.zeros(1, second)], dim=1),
        "clipped": (20 * noise(second)).clamp(-1, 1),
        "loud": noise(second).index_fill(1, torch.tensor([100]), 1.5),
        "white": 4 * noise(second),
        "cancelled": torch.cat([noise(second), -noise(second)]),
    }
    for name, sound in sounds.items():
        write_audio(tmp_path / f"{name}.wav", sound, second)
    (tmp_path / "broken.wav").write_bytes(b"RIFF")
    paths = [tmp_path / f"{name}.wav" for name in (*sounds, "broken", "missing")]
    code, findings = page(capsys, DEFAULT_MODEL, *paths)
    warned = {(subject.removesuffix(".wav"), text) for level, subject, text in findings if level == "warning"}
    for name, said in {
        "silent": "it is silent",
        "paused": "80 % of it is silent",
        "clipped": "at full scale or beyond: it is clipped",
        "loud": "its peak is 1.50, beyond full scale",
        "white": "percentile 100.0 of held-out clips",
        "cancelled": "its channels cancel each other",
    }.items():
        assert any(subject == name and said in text for subject, text in warned), name
    assert {subject for level, subject, _ in findings if level == "error"} == {"broken.wav", "missing.wav"}
    assert code == 1


def test_dead_channels_and_unused_codes_are_a_warning_for_enough_sound_and_else_a_hint(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        collapsed = WaveformVAE(4, (4, 5), (1, 2), 4, 4, 1, RATE)
        codec = WaveformVQVAE(WaveformVQVAEConfig(**CODEC.to_dict() | {"codebook_size": 1024}))
    with torch.no_grad():
        collapsed.encoder.conv2.weight_g[:4] = 0
    collapsed.save_pretrained(tmp_path / "collapsed")
    codec.save_pretrained(tmp_path / "codec")
    for name, seconds in (("short", 1), ("long", 61)):
        write_audio(tmp_path / f"{name}.wav", noise(seconds * RATE), RATE)
        for folder, subject, said in (("collapsed", "latents", "0 of 4 channels"), ("codec", "codes", "codebook")):
            _, findings = page(capsys, tmp_path / folder, tmp_path / f"{name}.wav", "--max_seconds", 100)
            ((level, _, text),) = [finding for finding in findings if finding[1] == subject]
            assert said in text
            assert (level, "a hint: 1 s of sound" in text) == (("ok", True) if name == "short" else ("warning", False))


def test_an_adapter_whose_base_has_changed(model: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    base = Path(shutil.copytree(model, tmp_path / "base"))
    adapt(base, tmp_path / "adapter")
    _, findings = page(capsys, tmp_path / "adapter")
    assert levels(findings)["adapter"] == "ok"
    with torch.random.fork_rng():
        torch.manual_seed(1)
        WaveformVAE(4, (4, 5), (1, 2), 4, 2, 1, RATE).save_pretrained(base)
    code, findings = page(capsys, tmp_path / "adapter")
    assert code == 1
    assert findings[0][:2] == ("error", "adapter") and "does not have the weights" in findings[0][2]


@pytest.mark.parametrize("name", ["VibeVoiceAcousticTokenizerModel", "MimiModel"])
def test_classes_of_other_packages(
    name: str, sounds: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    TINY[name].new().save_pretrained(tmp_path / "peer")
    _, findings = page(capsys, tmp_path / "peer", sounds / "1.wav")
    assert levels(findings)["weights"] == "ok"
    assert not any("cannot" in text for _, _, text in findings)
    assert ("statistics" in levels(findings)) == (name != "MimiModel")


@pytest.mark.parametrize("held_out", [0, 19])
def test_too_few_held_out_clips_are_no_scale(held_out: int, copy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    prior = LatentPrior.load(copy / PRIOR_FILE)
    info, distances = replace(prior.info, held_out_items=held_out), torch.zeros(3) if held_out else None
    LatentPrior(prior.mean, prior.covariances, info, distances=distances).save(copy / PRIOR_FILE)
    code, findings = page(capsys, copy, SPEECH)
    assert code == 0
    assert {level for level, _, _ in findings} == {"ok"}
    assert any(f"{held_out} held-out clips are no scale" in text for _, _, text in findings)


def test_a_rate_that_is_too_low_for_mel_bands_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        WaveformVAE(4, (4, 5), (1, 2), 4, 2, 1, 1000).save_pretrained(tmp_path)
    assert main(["doctor", str(tmp_path)]) == 0
    assert "not checked at 1000 Hz" in capsys.readouterr().out
