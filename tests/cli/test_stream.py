"""Files played through a model block by block."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from torch import nn

from hf_audio_vae import HierarchicalVQVAE, HierarchicalVQVAEConfig, WaveformVAE, WaveformVQVAE, WaveformVQVAEConfig
from hf_audio_vae.audio import read_audio
from hf_audio_vae.cli.main import main
from hf_audio_vae.cli.stream import Played, figures, thread_counts, use_fastest

SPEECH = Path(__file__).parents[2] / "data/held_out/speech_en_0890.flac"  # 16 kHz, mono, 5.3 s
TINY = {"sampling_rate": 16000, "encoder_hidden_size": 4, "decoder_hidden_size": 8, "downsampling_ratios": (4, 5)}
CODES = {"hidden_size": 8, "num_codebooks": 2, "codebook_size": 16, "codebook_dim": 4, "residual_dilations": (1,)}


@pytest.mark.parametrize(
    "model",
    [
        WaveformVAE(4, (4, 5), (1, 2), 4, 2, 1, 16000, causal=True),
        WaveformVQVAE(WaveformVQVAEConfig(**TINY, **CODES)),
        HierarchicalVQVAE(HierarchicalVQVAEConfig(sampling_rate=16000, hidden_size=4, width=4, depth=1)),
    ],
    ids=lambda model: type(model).__name__,
)
@torch.no_grad()
def test_stream_writes_the_reconstruction_and_the_latency(
    model: WaveformVAE | WaveformVQVAE | HierarchicalVQVAE, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model.eval().save_pretrained(tmp_path / "model")
    arguments = ["--model", str(tmp_path / "model"), "--output_dir", str(tmp_path), "--block_seconds", "0.1"]
    assert main(["stream", str(SPEECH), *arguments]) == 0
    (row,) = [line.split("|") for line in capsys.readouterr().out.splitlines() if "speech" in line and "|" in line]
    assert float(row[2]) == pytest.approx(1e3 * model.algorithmic_latency.seconds, abs=1e-3)
    assert float(row[3]) == 100
    played, rate = read_audio(tmp_path / "speech_en_0890.stream.wav")
    assert rate == 16000
    expected = model(read_audio(SPEECH)[0][None]).sample[0]
    # A code may change where rounding does, which is heard, but in few places.
    off = (played - expected).abs() > 1e-4 * expected.abs().max()
    assert played.shape == expected.shape
    assert off.float().mean() < (1e-9 if isinstance(model, WaveformVAE) else 0.01)


def test_stream_and_reconstruct_agree_on_a_file_of_another_rate(tmp_path: Path) -> None:
    # At levels where float32 rounds, the phase of a spectrum is the rounding's: input that differs there is heard.
    drums = SPEECH.with_name("loop_breakbeat.flac")  # 44.1 kHz
    for verb in ("stream", "reconstruct"):
        assert main([verb, str(drums), "--output_dir", str(tmp_path)]) == 0
    played, _ = read_audio(tmp_path / "loop_breakbeat.stream.wav")
    whole, _ = read_audio(tmp_path / "loop_breakbeat.reconstruction.wav")
    torch.testing.assert_close(played, whole, rtol=0, atol=1e-5)


@torch.no_grad()
def test_a_level_is_streamed_alone_and_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = HierarchicalVQVAEConfig(sampling_rate=16000, hidden_size=4, width=4, depth=1, joint_decoding=True)
    model = HierarchicalVQVAE(config).eval()
    model.save_pretrained(tmp_path / "model")
    arguments = ["stream", str(SPEECH), "--model", str(tmp_path / "model"), "--output_dir", str(tmp_path)]
    assert main(arguments) == 2
    assert "decodes all levels together; name a --level" in capsys.readouterr().err
    assert main([*arguments, "--level", "1", "--block_seconds", "1e300"]) == 0
    assert "level: 1, of 0 (the finest) to 2" in capsys.readouterr().out
    played, _ = read_audio(tmp_path / "speech_en_0890.stream.wav")
    expected = model(read_audio(SPEECH)[0][None]).level_values[1][0]
    off = (played - expected).abs() > 1e-4 * expected.abs().max()
    assert off.float().mean() < 0.01  # a code may change where rounding does


@torch.no_grad()
def test_a_start_that_is_mirrored_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for pad_mode, is_told in (("reflect", True), ("constant", False)):
        model = WaveformVQVAE(WaveformVQVAEConfig(**TINY, **CODES, causal=True, pad_mode=pad_mode))
        model.save_pretrained(tmp_path / pad_mode)
        place = ["--model", str(tmp_path / pad_mode), "--output_dir", str(tmp_path)]
        assert main(["stream", str(SPEECH), *place, "--block_seconds", "1"]) == 0
        start = f"the first sample comes after {1e3 * model.algorithmic_latency.start / 16000:.3f} ms"
        assert (start in capsys.readouterr().out) == is_told


def test_the_gpu_streams_if_there_is_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    WaveformVQVAE(WaveformVQVAEConfig(**TINY, **CODES)).save_pretrained(tmp_path)
    devices = []
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(nn.Module, "to", lambda _, device: devices.append(device))
    assert main(["stream", str(SPEECH), "--model", str(tmp_path), "--output_dir", str(tmp_path)]) == 0
    assert devices == ["cuda"]


def test_the_delay_has_all_that_a_sample_waits_for() -> None:
    # Blocks of 2 s at 1 Hz: the first is complete at 2 s and computed for 3 s, but determines nothing. The second has
    # to wait for that until 5 s, is computed until 6 s, and determines the sound from 0 s on.
    played = Played(seconds=[3.0, 1.0, 0.5], starts=[0, 0, 3])
    block, median, highest, longest, delay, speed = figures(played, time=4, block=2, sampling_rate=1)
    assert (block, median, longest, delay) == (2000, 1000, 3000, 6000)
    assert 2900 < highest < 3000
    assert speed == 4 / 4.5


@pytest.mark.parametrize(
    ("changes", "options", "message"),
    [
        ({"normalize": True}, [], "use a model with `normalize=False`"),
        *(({}, ["--block_seconds", wrong], "give a number of at least 1 / 16000") for wrong in ("1e-5", "inf", "nan")),
        ({}, ["--level", "0"], "a WaveformVQVAE has no levels, leave it out"),
    ],
)
def test_what_cannot_be_streamed_is_one_line(
    changes: dict[str, bool], options: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    WaveformVQVAE(WaveformVQVAEConfig(**TINY, **CODES, **changes)).save_pretrained(tmp_path)
    assert main(["stream", str(SPEECH), "--model", str(tmp_path), "--output_dir", str(tmp_path), *options]) == 2
    assert message in capsys.readouterr().err


@pytest.fixture
def threads() -> Iterator[None]:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.mark.usefixtures("threads")
def test_the_fastest_number_of_threads_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    torch.set_num_threads(6)
    candidates = thread_counts(None, torch.device("cpu"))
    assert candidates == [1, 2, 4, 6]
    for fastest in candidates:
        use_fastest(candidates, lambda fastest=fastest: abs(torch.get_num_threads() - fastest))
        assert torch.get_num_threads() == fastest
    torch.set_num_threads(6)
    assert thread_counts(3, torch.device("cpu")) == [3]
    monkeypatch.setenv("OMP_NUM_THREADS", "6")
    assert thread_counts(None, torch.device("cpu")) == [6]
    with pytest.raises(ValueError, match="--threads is 0; give 1 to 1024"):
        thread_counts(0, torch.device("cpu"))


@pytest.mark.usefixtures("threads")
def test_the_number_of_threads_is_told(
    model: str, sounds: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["stream", str(sounds / "1.wav"), "--model", model, "--output_dir", str(tmp_path / "out")]
    assert main([*command, "--threads", "2"]) == 0
    assert "threads: 2, device: cpu" in capsys.readouterr().out
