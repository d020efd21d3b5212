"""The measured latents of a model, by the command line, and samples of them."""

import json
import shutil
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch
from torch import Tensor

from hf_audio_vae import WaveformVAE, WaveformVQVAE
from hf_audio_vae.audio import read_audio, write_audio
from hf_audio_vae.cli.main import main
from hf_audio_vae.latents import ChannelMoments, LatentPrior
from hf_audio_vae.latents.prior import PRIOR_FILE
from hf_audio_vae.models.fingerprint import model_fingerprint
from hf_audio_vae.tokens import CodesInfo, CodeTokens, save_tokens
from tests.cli.files import RATE, errors, noise
from tests.cli.test_token_vae import CODEC
from tests.models.peers.tiny import TINY
from tests.models.token_vae.tiny import tiny_token_vae

ITEMS = 12


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Twelve sounds of different levels and lengths."""
    folder = tmp_path_factory.mktemp("private") / "sounds"
    folder.mkdir()
    for number in range(ITEMS):
        sound = noise(1000 + 200 * number, number) * (1 + number)
        write_audio(folder / f"{number:02d}.wav", sound, RATE)
    return str(folder)


@pytest.fixture
def fresh(model: str, tmp_path: Path) -> str:
    """A copy of the model without statistics."""
    shutil.copytree(model, tmp_path / "fresh")
    return str(tmp_path / "fresh")


@pytest.fixture(scope="module")
def measured(model: str, data: str, tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("measured") / "model"
    shutil.copytree(model, folder)
    assert main(["statistics", str(folder), "--dataset_name", data]) == 0
    return str(folder)


@torch.no_grad()
def posteriors(folder: str, data: str) -> list[tuple[Tensor, Tensor]]:
    model = WaveformVAE.from_pretrained(folder)
    encoded = [model.encode(read_audio(path)[0][None]).latent_dist for path in sorted(Path(data).iterdir())]
    return [(posterior.mean[0], posterior.std[0]) for posterior in encoded]


def sampled(folder: Path) -> Tensor:
    return torch.stack([read_audio(path)[0] for path in sorted(folder.glob("*.wav"))])


def test_the_fit_is_of_all_items_but_each_tenth_which_calibrates_it(measured: str, data: str) -> None:
    encoded = posteriors(measured, data)
    held_out = encoded.pop(9)
    channels = ChannelMoments()
    for mean, std in encoded:
        channels.add(mean, std)
    prior, config = LatentPrior.load(Path(measured, PRIOR_FILE)), json.loads(Path(measured, "config.json").read_text())
    # The verb encodes with fused layers, which agree within 1e-5.
    torch.testing.assert_close(prior.mean, channels.mean, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(prior.std, channels.std, rtol=1e-4, atol=1e-5)
    assert config["latents_mean"] == prior.mean.tolist() and config["latents_std"] == prior.std.tolist()
    assert (prior.info.items, prior.info.held_out_items, prior.info.frames) == (11, 1, channels.frames)
    assert prior.distances is not None
    assert prior.distances.unique().item() == pytest.approx(prior.distance(held_out[0]), rel=1e-4)
    assert prior.info.weights == model_fingerprint(WaveformVAE.from_pretrained(measured))


def test_statistics_are_printed_for_programs(fresh: str, data: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["statistics", fresh, "--dataset_name", data, "--format", "json"]) == 0
    printed = {row["figure"]: row["value"] for row in json.loads(capsys.readouterr().out)}
    prior = LatentPrior.load(Path(fresh, PRIOR_FILE))
    assert (printed["items"], printed["frames"]) == (11, prior.info.frames)
    assert printed["largest std of a channel"] == prior.std.max().item()


def test_the_file_names_the_data_set_and_not_where_it_lies(measured: str, data: str) -> None:
    content = Path(measured, PRIOR_FILE).read_bytes()
    assert str(Path(data).parent).encode() not in content
    assert LatentPrior.load(Path(measured, PRIOR_FILE)).info.dataset_name == "sounds"


def test_statistics_that_are_there_are_replaced_only_if_asked(
    fresh: str, data: str, capsys: pytest.CaptureFixture[str]
) -> None:
    config = json.loads(Path(fresh, "config.json").read_text())
    Path(fresh, "config.json").write_text(json.dumps(config | {"latents_mean": [0.0] * 2, "latents_std": [3.0] * 2}))
    arguments = ["statistics", fresh, "--dataset_name", data]
    assert main(arguments) == 0
    assert "has latents_mean and latents_std already and keeps them" in capsys.readouterr().out
    assert json.loads(Path(fresh, "config.json").read_text())["latents_std"] == [3.0, 3.0]
    before, first = Path(fresh, PRIOR_FILE).read_bytes(), LatentPrior.load(Path(fresh, PRIOR_FILE))
    assert main(arguments) == 2
    assert f"{PRIOR_FILE} exists; give --overwrite to replace it." in errors(capsys)[0]
    assert Path(fresh, PRIOR_FILE).read_bytes() == before
    assert main([*arguments, "--overwrite"]) == 0
    assert json.loads(Path(fresh, "config.json").read_text())["latents_std"] != [3.0, 3.0]
    again = LatentPrior.load(Path(fresh, PRIOR_FILE))
    assert torch.equal(again.covariances, first.covariances), "the measurement is reproducible"


def test_a_class_of_another_package_gets_the_file_only(
    data: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    TINY["VibeVoiceAcousticTokenizerModel"].new().save_pretrained(tmp_path / "peer")
    before = (tmp_path / "peer/config.json").read_bytes()
    assert main(["statistics", str(tmp_path / "peer"), "--dataset_name", data]) == 0
    assert "its config has no place for latents_mean and latents_std" in capsys.readouterr().out
    assert (tmp_path / "peer/config.json").read_bytes() == before
    arguments = ["sample", str(tmp_path / "peer"), "--num_waveforms", "1", "--seconds", "0.2"]
    for prior in ("standard", "autoregressive"):
        assert main([*arguments, "--prior", prior, "--output_dir", str(tmp_path / prior)]) == 0
        assert sampled(tmp_path / prior).isfinite().all()
    assert "no statistics" not in capsys.readouterr().err, "the file has a scale for N(0, I), too"


def test_without_scikit_learn_there_is_no_mixture_and_a_line_says_so(
    fresh: str, data: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "sklearn.mixture", None)
    assert main(["statistics", fresh, "--dataset_name", data]) == 0
    assert "no mixture is fitted: scikit-learn is missing" in capsys.readouterr().err
    assert main(["sample", fresh, "--prior", "mixture", "--output_dir", str(tmp_path / "out")]) == 2
    assert "the prior has no mixture" in errors(capsys)[0]


@pytest.mark.parametrize("prior", ["standard", "gaussian", "autoregressive", "mixture"])
def test_samples_are_decoded_latents_of_the_prior(prior: str, measured: str, tmp_path: Path) -> None:
    if prior == "mixture" and find_spec("sklearn") is None:
        pytest.skip("needs scikit-learn")
    arguments = ["sample", measured, "--prior", prior, "--num_waveforms", "2", "--seconds", "0.1", "--seed", "5"]
    assert main([*arguments, "--output_dir", str(tmp_path), "--temperature", "0.5", "--truncation", "0.9"]) == 0
    model, generator = WaveformVAE.from_pretrained(measured), torch.Generator().manual_seed(5)
    sampler = LatentPrior.load(Path(measured, PRIOR_FILE)).sampler(prior)
    with torch.no_grad():
        expected = [
            model.decode(sampler.sample(40, generator=generator, temperature=0.5, truncation=0.9)).sample[0]
            for _ in range(2)
        ]
    torch.testing.assert_close(sampled(tmp_path), torch.stack(expected), rtol=0, atol=1e-4)
    assert sorted(path.name for path in tmp_path.glob("*.wav")) == [f"00-{prior}.wav", f"01-{prior}.wav"]


def test_without_a_measurement_a_line_names_the_command_and_only_noise_is_sampled(
    fresh: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["sample", fresh, "--num_waveforms", "1", "--seconds", "0.1", "--output_dir", str(tmp_path / "out")]
    assert main(arguments) == 2
    assert f"hf-audio-vae statistics {fresh} --dataset_name DATA" in errors(capsys)[0]
    assert main([*arguments, "--prior", "standard"]) == 0
    assert "has no statistics: N(0, I) is decoded as it is" in capsys.readouterr().err
    noise = torch.randn(1, 40, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64).mT.float()
    with torch.no_grad():
        expected = WaveformVAE.from_pretrained(fresh).decode(noise).sample
    torch.testing.assert_close(sampled(tmp_path / "out"), expected, rtol=0, atol=1e-4)


def test_a_prior_of_another_model_is_refused(
    measured: str, fresh: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with torch.random.fork_rng():
        torch.manual_seed(1)
        WaveformVAE(4, (4, 5), (1, 2), 4, 2, 1, RATE).save_pretrained(fresh)
    shutil.copy(Path(measured, PRIOR_FILE), fresh)
    assert main(["sample", fresh, "--output_dir", str(tmp_path / "out")]) == 2
    assert "describes the latents of a model with other weights; measure it again" in errors(capsys)[0]


def test_codes_and_tokens_have_other_priors(data: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    codec = WaveformVQVAE(CODEC)
    codec.save_pretrained(tmp_path / "codec")
    tokens = CodeTokens((6, 6), "delayed")
    tiny_token_vae(vocab_size=tokens.vocab_size).save_pretrained(tmp_path / "tokens")
    save_tokens(tmp_path / "tokens", tokens, CodesInfo("x", model_fingerprint(codec), (), (100.0,), 8))
    for verb, rest in (("statistics", ["--dataset_name", data]), ("sample", ["--output_dir", str(tmp_path / "out")])):
        assert main([verb, str(tmp_path / "codec"), *rest]) == 2
        assert "train a language model of its codes with `hf-audio-vae train-prior`" in errors(capsys)[0]
        assert main([verb, str(tmp_path / "tokens"), *rest]) == 2
        assert f"sample that with `hf-audio-vae generate {tmp_path / 'tokens'}`" in errors(capsys)[0]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["statistics", "somebody/model", "--dataset_name", "x"], "hf download somebody/model --local-dir FOLDER"),
        (
            ["statistics", "MODEL", "--dataset_name", "x", "--torch_dtype", "float16"],
            "--torch_dtype changes the weights",
        ),
        (["sample", "MODEL", "--num_waveforms", "0"], "--num_waveforms is 0; give 1 to 1000."),
        (["sample", "MODEL", "--seconds", "nan"], "--seconds is nan"),
        (["sample", "MODEL", "--temperature", "-1"], "--temperature is -1.0"),
        (["sample", "MODEL", "--truncation", "0"], "--truncation is 0.0"),
        (["sample", "MODEL", "--seed", "-1"], "--seed is -1"),
    ],
)
def test_errors_of_the_user_are_one_line(
    arguments: list[str], message: str, model: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([model if argument == "MODEL" else argument for argument in arguments]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert message in line
