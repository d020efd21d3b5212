"""Sound from a TokenVAE and its codec, by the command line."""

import json
import sys
from pathlib import Path

import pytest
import torch

from hf_audio_vae import WaveformVQVAE, WaveformVQVAEConfig
from hf_audio_vae.audio import read_audio
from hf_audio_vae.cli.main import main
from hf_audio_vae.cli.score_files import synthesiser
from hf_audio_vae.models.fingerprint import model_fingerprint
from hf_audio_vae.tokens import CodesInfo, CodeTokens, save_tokens
from hf_audio_vae.tokens.scores import ScoreTokenizer, score_tokens
from tests.models.token_vae.tiny import tiny_token_vae
from tests.pipelines.test_token_generation import prior_of
from tests.tokens.test_scores import tune

DATA = Path(__file__).parents[2] / "data/held_out"
DRUM, PIANO = DATA / "drum_snare_hard.flac", DATA / "piano_A5_v12.ogg"
CODEC = WaveformVQVAEConfig(
    sampling_rate=4000,
    encoder_hidden_size=2,
    decoder_hidden_size=8,
    downsampling_ratios=(5, 8),
    hidden_size=4,
    residual_dilations=(1,),
    num_codebooks=2,
    codebook_size=6,
    codebook_dim=None,
    kmeans_start=False,
)


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """A codec, a TokenVAE of its codes, and a plain language model of them."""
    folder = tmp_path_factory.mktemp("models")
    with torch.random.fork_rng():
        torch.manual_seed(0)
        codec = WaveformVQVAE(CODEC).eval()
    codec.save_pretrained(folder / "codec")
    tokens = CodeTokens((6, 6), "delayed")
    info = CodesInfo(str(folder / "codec"), model_fingerprint(codec), (), (100.0,), 8)
    models = {"vae": tiny_token_vae(vocab_size=tokens.vocab_size), "plain": prior_of(tokens, 8).model}
    for name, model in models.items():
        model.save_pretrained(folder / name)
        save_tokens(folder / name, tokens, info)
    return {name: str(folder / name) for name in ("codec", *models)}


def sounds(folder: Path) -> list[torch.Tensor]:
    return [read_audio(path)[0] for path in sorted(folder.glob("*.wav"))]


@pytest.mark.slow
def test_new_varied_and_interpolated_sounds_are_written(folders: dict[str, str], tmp_path: Path) -> None:
    options = {
        "new": ["--seconds", "0.2"],
        "varied": ["--init_audio", str(DRUM)],
        "between": ["--init_audio", str(DRUM), "--interpolate_to", str(PIANO)],
        "back": ["--init_audio", str(PIANO), "--interpolate_to", str(DRUM)],
    }
    for name, given in options.items():
        output = ["--num_waveforms", "3", "--top_k", "1", "--output_dir", str(tmp_path / name)]
        assert main(["generate", folders["vae"], *given, *output]) == 0
    assert [sound.shape for sound in sounds(tmp_path / "new")] == 3 * [(1, 800)]
    assert [sound.shape for sound in sounds(tmp_path / "varied")] == 3 * [(1, 320)]
    between, back = sounds(tmp_path / "between"), sounds(tmp_path / "back")
    assert torch.equal(between[0], back[2]) and torch.equal(between[2], back[0])


@pytest.mark.parametrize(
    ("model", "options", "message"),
    [
        ("plain", ["--init_audio", str(DRUM)], "has no latents and does not accept --init_audio"),
        ("vae", ["--interpolate_to", str(DRUM)], "--interpolate_to has no effect without --init_audio"),
        (
            "vae",
            ["--init_audio", str(DRUM), "--interpolate_to", str(DRUM)],
            "--interpolate_to needs --num_waveforms 2 or more",
        ),
        ("vae", ["--seconds", "1e-9"], "--seconds is 1e-09, less than one sample at"),
        ("vae", ["--num_codes", "4"], "is not a language model of scores and does not accept --num_codes"),
    ],
)
def test_options_without_effect_are_refused(
    model: str,
    options: list[str],
    message: str,
    folders: dict[str, str],
    tmp_path: Path,
    capsys: pytest.CaptureFixture,
) -> None:
    assert main(["generate", folders[model], *options, "--output_dir", str(tmp_path / "out")]) == 2
    assert message in capsys.readouterr().err


def test_arithmetic_needs_a_vae_of_sound(folders: dict[str, str], capsys: pytest.CaptureFixture) -> None:
    sources = ["--add", str(DRUM), "--subtract", str(PIANO)]
    assert main(["arithmetic", str(DRUM), *sources, "--model", folders["vae"]]) == 2
    assert "is a language model of codes; name a VAE of sound with --model" in capsys.readouterr().err


def test_the_latents_of_sounds_are_described(folders: dict[str, str], capsys: pytest.CaptureFixture) -> None:
    data = ["--dataset_name", str(DATA), "--max_seconds", "0.3"]
    assert main(["inspect", folders["vae"], *data]) == 0
    printed = capsys.readouterr().out
    assert "active channels" in printed
    assert "12 items, 3.6 s, 96 frames" in printed  # four windows of 80 ms, of two latents each
    assert main(["inspect", folders["plain"], *data]) == 2
    assert f"a language model without latents; name its codec, {folders['codec']}" in capsys.readouterr().err


def test_a_map_shows_the_latents_of_codes(
    folders: dict[str, str], tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    arguments = ["map", str(DATA), "--max_seconds", "0.3", "--output_dir", str(tmp_path)]
    assert main([*arguments, "--model", folders["vae"]]) == 0
    points = json.loads((tmp_path / "map.json").read_text())["points"]
    assert len(points) == 12
    assert len({tuple(point["coordinates"]) for point in points}) > 2  # random weights tell some of them apart
    assert main([*arguments, "--model", folders["plain"], "--overwrite"]) == 2
    assert f"a language model without latents; name its codec, {folders['codec']}" in capsys.readouterr().err


@pytest.mark.parametrize("option", [("--torch_dtype", "float16"), ("--variant", "fp16"), ("--subfolder", "vae")])
def test_an_option_of_other_models_is_refused_by_inspect(
    option: tuple[str, str], folders: dict[str, str], capsys: pytest.CaptureFixture
) -> None:
    assert main(["inspect", folders["vae"], "--dataset_name", str(DATA), *option]) == 2
    assert f"{option[0]} has no effect with {folders['vae']}, a language model of codes" in capsys.readouterr().err


def test_scores_are_written_and_read(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    pytest.importorskip("miditok")
    tokenizer = ScoreTokenizer()
    tokens = score_tokens(tokenizer)
    tiny_token_vae(vocab_size=tokens.vocab_size).save_pretrained(tmp_path / "vae")
    save_tokens(tmp_path / "vae", tokens, CodesInfo("corpus", tokenizer.fingerprint, (), (1.0,), 20))
    tokenizer.save(tmp_path / "vae")
    (tmp_path / "given.mid").write_bytes(tune([60, 62, 64]).dumps_midi())
    options = ["--num_waveforms", "2", "--output_dir", str(tmp_path / "out")]
    assert main(["generate", str(tmp_path / "vae"), "--init_audio", str(tmp_path / "given.mid"), *options]) == 0
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["00-generated.mid", "01-generated.mid"]
    for path in (tmp_path / "out").iterdir():
        tokenizer.encode(path)
    assert "notes" in capsys.readouterr().out
    assert main(["generate", str(tmp_path / "vae"), "--seconds", "2", *options]) == 2
    assert "a language model of scores and does not accept --seconds" in capsys.readouterr().err
    assert main(["generate", str(tmp_path / "vae"), "--init_audio", str(DRUM), *options, "--overwrite"]) == 2
    assert "drum_snare_hard.flac is not a score that can be read" in capsys.readouterr().err


def test_a_language_model_of_scores_is_refused_before_anything_is_read_or_written(
    tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    pytest.importorskip("miditok")
    tokenizer = ScoreTokenizer()
    tokens = score_tokens(tokenizer)
    tiny_token_vae(vocab_size=tokens.vocab_size).save_pretrained(tmp_path / "vae")
    save_tokens(tmp_path / "vae", tokens, CodesInfo("corpus", tokenizer.fingerprint, (), (1.0,), 20))
    tokenizer.save(tmp_path / "vae")
    assert main(["inspect", str(tmp_path / "vae"), "--dataset_name", str(DATA)]) == 2
    assert "a language model of scores, which are no sound; the validation of `hf-audio-vae" in capsys.readouterr().err
    options = ["--soundfont", "/nope", "--output_dir", str(tmp_path / "out")]
    assert main(["generate", str(tmp_path / "vae"), *options]) == 2
    assert "/nope does not exist" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_the_coarsest_model_alone_names_those_that_it_needs(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    tokens = CodeTokens((4,), "flattened")
    prior_of(tokens, 6, (2,)).model.save_pretrained(tmp_path)
    save_tokens(tmp_path, tokens, CodesInfo("nowhere", "0" * 16, (2,), (10.0,), 6))
    assert main(["generate", str(tmp_path), "--output_dir", str(tmp_path / "out")]) == 2
    line = capsys.readouterr().err
    assert "generates the codes of level 2 alone" in line
    assert "--upsampler LEVEL_1 LEVEL_0" in line


def test_what_is_read_of_a_score_is_told(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    pytest.importorskip("miditok")
    tokenizer = ScoreTokenizer()
    tokens = score_tokens(tokenizer)
    tiny_token_vae(vocab_size=tokens.vocab_size).save_pretrained(tmp_path / "vae")
    save_tokens(tmp_path / "vae", tokens, CodesInfo("corpus", tokenizer.fingerprint, (), (1.0,), 13))
    tokenizer.save(tmp_path / "vae")
    options = ["--init_audio", str(tmp_path / "given.mid"), "--output_dir", str(tmp_path / "out"), "--overwrite"]
    score = tune([60, 20, 64, 65, 67])  # the second is too low, the last beyond the codes
    score.tracks.append(tune([70, 72]).tracks[0])
    (tmp_path / "given.mid").write_bytes(score.dumps_midi())
    assert main(["generate", str(tmp_path / "vae"), *options]) == 0
    expected = (
        "given.mid: 3 of 7 notes, 1 of 2 tracks and 4 of 5 beats are used; the model reads 13 codes of the first"
    )
    assert expected in capsys.readouterr().err
    for pitches in ([], [20, 21]):
        (tmp_path / "given.mid").write_bytes(tune(pitches).dumps_midi())
        assert main(["generate", str(tmp_path / "vae"), *options]) == 2
        assert f"given.mid has {len(pitches)} notes, none of which the model can read" in capsys.readouterr().err


def test_a_broken_soundfont_is_refused(tmp_path: Path) -> None:
    pytest.importorskip("tinysoundfont")
    (tmp_path / "bad.sf2").write_bytes(b"no SoundFont")
    with pytest.raises(ValueError, match=r"bad\.sf2 is not a SoundFont"):
        synthesiser(tmp_path / "bad.sf2")


def test_a_missing_synthesiser_names_its_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tinysoundfont", None)
    (tmp_path / "any.sf2").touch()
    with pytest.raises(ValueError, match="--soundfont needs tinysoundfont; install it with `pip install"):
        synthesiser(tmp_path / "any.sf2")
