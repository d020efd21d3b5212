"""Every verb, and encoding of a data set, on every published class."""

from pathlib import Path

import pytest
import torch

from hf_audio_vae.audio import read_audio, write_audio
from hf_audio_vae.cli.main import main
from hf_audio_vae.models import load_autoencoder
from hf_audio_vae.models.peers import PEERS
from hf_audio_vae.models.published_formats import PUBLISHED_FORMATS
from tests.models.peers.tiny import TINY, buildable
from tests.models.test_published_formats import original
from tests.training.runs import REPO, run_here

SPEECH = REPO / "data/held_out/speech_en_0890.flac"
NAMES = sorted((*PEERS, *PUBLISHED_FORMATS))
SECONDS = ["--max_seconds", "0.5"]

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module", params=buildable(NAMES))
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp(request.param)
    (TINY[request.param].new() if request.param in TINY else original(request.param)).save_pretrained(path)
    return path


@pytest.fixture(scope="module")
def speech(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A second of speech."""
    waveform, rate = read_audio(SPEECH)
    path = tmp_path_factory.mktemp("sound") / "speech.wav"
    write_audio(path, waveform[:, rate : 2 * rate], rate)
    return path


def lengths(path: Path, rate: int) -> tuple[int, int]:
    written, found = read_audio(path)
    assert found == rate
    return written.shape[-1], int(written.abs().max() > 0)


def test_a_file_is_reconstructed_and_decoded_from_its_latents_or_codes(
    folder: Path, speech: Path, tmp_path: Path
) -> None:
    options = ["--output_dir", str(tmp_path)]
    assert main(["reconstruct", str(speech), "--model", str(folder), *options]) == 0
    # A network with random weights may enlarge the rounding of half precision.
    exact = [] if load_autoencoder(folder).codebook_sizes else ["--latents_dtype", "float32"]
    assert main(["encode", str(speech), "--model", str(folder), *exact, *options]) == 0
    assert main(["decode", str(tmp_path / "speech.safetensors"), *options]) == 0
    rate = load_autoencoder(folder).sampling_rate
    expected = (round(rate * 1.0), 1)
    decoded, reconstructed = tmp_path / "speech.wav", tmp_path / "speech.reconstruction.wav"
    assert lengths(decoded, rate) == lengths(reconstructed, rate) == expected
    a, b = (read_audio(path)[0] for path in (decoded, reconstructed))
    assert float((a - b).abs().max()) <= 2e-3 * float(b.abs().max())


@pytest.mark.parametrize("verb", [("evaluate", "--model"), ("inspect",)])
def test_a_data_set_is_measured(
    verb: tuple[str, ...], folder: Path, speech: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = [*verb, str(folder), "--dataset_name", str(speech.parent), *SECONDS]
    if verb[0] == "evaluate" and load_autoencoder(folder).sampling_rate < 2000:  # too low for the embedding log_mel
        command += ["--embeddings", "musicnn"]
    assert main(command) == 0
    printed = capsys.readouterr().out
    assert "inf" not in printed.split() and "nan" not in printed.split()
    assert "active channels" in printed or "entropy" in printed


def test_a_stream_gives_the_same_or_is_refused_with_the_reason(
    folder: Path, speech: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code = main(["stream", str(speech), "--model", str(folder), "--output_dir", str(tmp_path)])
    if code == 0:
        assert main(["reconstruct", str(speech), "--model", str(folder), "--output_dir", str(tmp_path)]) == 0
        a, b = (read_audio(tmp_path / f"speech.{end}.wav")[0] for end in ("stream", "reconstruction"))
        torch.testing.assert_close(a, b, rtol=0, atol=1e-4 * float(b.abs().max()))
    else:
        (line,) = capsys.readouterr().err.strip().splitlines()[-1:]
        assert line.startswith("hf-audio-vae stream:") and "Traceback" not in line


def test_a_graph_is_exported_or_refused_with_the_reason(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code = main(["export", str(folder), "--output_dir", str(tmp_path), "--format", "torch"])
    if code == 0:
        assert (tmp_path / "decoder.pt2").is_file()
    else:
        assert capsys.readouterr().err.strip().splitlines()[-1].startswith("hf-audio-vae export:")


def test_a_data_set_is_encoded(folder: Path, speech: Path, tmp_path: Path) -> None:
    options = ["--model", str(folder), "--dataset_name", str(speech.parent), "--output_dir", str(tmp_path / "encoded")]
    ran = run_here(str(REPO / "training/encode_latents.py"), options)
    assert ran.returncode == 0, ran.stderr
    assert list((tmp_path / "encoded").rglob("*.parquet"))
    load_autoencoder(folder)  # still of its own class, with statistics of its latents
