import io
import multiprocessing
import shutil
import subprocess
import sys
from pathlib import Path
from unittest import mock

import fsspec
import numpy as np
import pytest
import soundfile
import torch
from fsspec.implementations.local import LocalFileSystem
from torch import Tensor

from hf_audio_vae.audio import AudioDecodeError, open_audio, read_audio, write_audio

DATA = Path(__file__).parents[2] / "data"
VORBIS_FILES = sorted(DATA.glob("held_out/*.ogg"))
# Name, container and encoding by soundfile's words, sampling rate in Hz.
FORMATS = {
    "wav16": ("WAV", "PCM_16", 44100),
    "wav_float": ("WAV", "FLOAT", 44100),
    "flac": ("FLAC", "PCM_16", 44100),
    "vorbis": ("OGG", "VORBIS", 44100),
    "opus": ("OGG", "OPUS", 48000),
    "mp3": ("MP3", "MPEG_LAYER_III", 44100),
}


def breakbeat(repeats: int = 1) -> np.ndarray:
    """1.9 s of stereo drums, (time, channels): attacks make Vorbis change its block size often."""
    return np.tile(soundfile.read(DATA / "held_out/loop_breakbeat.flac", dtype="float32")[0], (repeats, 1))


def encoded(samples: np.ndarray, container: str, encoding: str, sampling_rate: int) -> bytes:
    """Encode (time, channels), in blocks, as libsndfile crashes on a long Vorbis write."""
    stream = io.BytesIO()
    channels = samples.shape[1]
    with soundfile.SoundFile(stream, "w", sampling_rate, channels, format=container, subtype=encoding) as file:
        for start in range(0, len(samples), 1 << 16):
            file.write(samples[start : start + (1 << 16)])
    return stream.getvalue()


def positions(length: int, count: int, seed: int = 0) -> list[tuple[int, int]]:
    """Random stretches (start, count) that begin in the file, every third among its last 40,000 samples."""
    generator = np.random.default_rng(seed)
    starts = [
        length - 1 - int(generator.integers(min(40_000, length))) if i % 3 == 0 else int(generator.integers(length))
        for i in range(count)
    ]
    return [(start, int(generator.integers(1, 4000))) for start in starts]


def misread(source: str | Path | bytes, count: int) -> list[tuple[int, int]]:
    """Return those of `count` stretches that differ from the same stretch of the whole decode.

    By more than 2^-24 of full scale, that is: mp3's filter bank rounds by where it started.
    """
    whole, _ = read_audio(source)
    with open_audio(source) as reader:
        assert whole.shape == (reader.audio_channels, reader.num_samples)
        wrong = []
        for start, length in positions(reader.num_samples, count):
            stretch, expected = reader.read(start, length), whole[:, start : start + length]
            if stretch.shape != expected.shape or (stretch - expected).abs().max() > 2**-24:
                wrong.append((start, length))
        return wrong


class CountingFile(io.FileIO):
    """Counts the bytes that were read."""

    bytes_read = 0

    def readinto(self, buffer):
        count = super().readinto(buffer)
        CountingFile.bytes_read += count
        return count

    def read(self, size=-1):
        content = super().read(size)
        CountingFile.bytes_read += len(content)
        return content


class CountingFileSystem(LocalFileSystem):
    protocol = "counting"
    cachable = False

    def _open(self, path, mode="rb", **kwargs):
        return CountingFile(path, mode)


@pytest.mark.parametrize("name", FORMATS)
def test_any_stretch_equals_the_slice_of_the_whole_decode(name):
    # 15 s, so that most of it is far from the end; mp3 and Vorbis seek wrong at few places only.
    assert misread(encoded(breakbeat(8), *FORMATS[name]), count=80 if name in ("opus", "vorbis") else 400) == []


@pytest.mark.parametrize("path", VORBIS_FILES, ids=lambda path: path.stem)
def test_any_stretch_of_a_real_vorbis_file_equals_the_slice_of_the_whole_decode(path):
    assert misread(path, count=40) == []


def test_any_stretch_of_a_vorbis_file_with_long_pages_equals_the_slice_of_the_whole_decode():
    # A quiet, narrow sound takes few bytes, so one page holds many samples: the last one here holds 28,000.
    tone = 0.3 * np.sin(0.05 * np.arange(400_000, dtype=np.float32))[:, None]
    assert misread(encoded(tone, "OGG", "VORBIS", 8000), count=40) == []


def test_libsndfile_alone_seeks_wrong_in_vorbis():
    # Why a reader cannot just seek. Where this fails, libsndfile was mended and the reader may be simplified.
    stream = io.BytesIO(encoded(breakbeat(2), *FORMATS["vorbis"]))
    with soundfile.SoundFile(stream) as file:
        whole = file.read(dtype="float32")
        wrong = 0
        for start, count in positions(len(whole), 100):
            file.seek(start)
            wrong += not np.array_equal(file.read(count, dtype="float32"), whole[start : start + count])
    assert wrong > 0


@pytest.mark.parametrize("name", FORMATS)
def test_the_samples_decoded_are_as_many_as_were_encoded(name):
    samples = breakbeat()
    whole, sampling_rate = read_audio(encoded(samples, *FORMATS[name]))
    assert whole.shape == (2, len(samples))
    assert sampling_rate == FORMATS[name][2]


@pytest.mark.parametrize("name", FORMATS)
def test_what_lies_past_the_end_is_left_out(name):
    with open_audio(encoded(breakbeat(), *FORMATS[name])) as reader:
        end = reader.num_samples
        assert reader.read(end - 100, 1000).shape == (2, 100)
        assert reader.read(end, 1000).shape == (2, 0)


@pytest.mark.parametrize(
    ("name", "step"), [("wav16", 2**-15), ("wav_float", 0.0), ("flac", 2**-15)], ids=lambda value: str(value)
)
def test_lossless_formats_return_the_samples_within_one_quantisation_step(name, step):
    samples = breakbeat()
    whole, _ = read_audio(encoded(samples, *FORMATS[name]))
    assert np.abs(whole.numpy().T - samples).max() <= step


@pytest.mark.parametrize("name", ["loop_breakbeat.flac", "music_musicbox.ogg"])
def test_a_path_a_string_a_url_and_bytes_are_the_same_audio(name):
    path = DATA / "held_out" / name
    from_path, rate = read_audio(path)
    for source in (str(path), path.as_uri(), path.read_bytes()):
        waveform, sampling_rate = read_audio(source)
        assert sampling_rate == rate
        assert torch.equal(waveform, from_path)


def test_a_file_inside_a_zip_url_is_read(tmp_path):
    shutil.make_archive(str(tmp_path / "archive"), "zip", DATA / "held_out")
    waveform, _ = read_audio(f"zip://loop_breakbeat.flac::{tmp_path / 'archive.zip'}")
    assert torch.equal(waveform, read_audio(DATA / "held_out/loop_breakbeat.flac")[0])


@pytest.mark.parametrize("name", ["wav16", "wav_float", "flac", "vorbis", "opus"])
def test_a_crop_deep_in_a_long_file_reads_a_small_part_of_it(name, tmp_path):
    fsspec.register_implementation("counting", CountingFileSystem, clobber=True)
    path = tmp_path / "long"
    path.write_bytes(encoded(breakbeat(12), *FORMATS[name]))
    with open_audio(f"counting://{path}") as reader:
        CountingFile.bytes_read = 0
        assert reader.read(reader.num_samples // 2, 4096).shape == (2, 4096)
    assert CountingFile.bytes_read < path.stat().st_size / 3


def damaged() -> dict[str, bytes]:
    flac = encoded(breakbeat(), *FORMATS["flac"])
    cases = {f"{name} of 40 bytes": encoded(breakbeat(), *FORMATS[name])[:40] for name in FORMATS}
    return cases | {
        "empty": b"",
        "text": b"not a sound\n" * 100,
        "noise": np.random.default_rng(0).bytes(20_000),
        "wav without samples": encoded(np.zeros((0, 2), np.float32), *FORMATS["wav16"]),
        "flac without its end": flac[: len(flac) // 2],
        "flac with a hole": flac[: len(flac) // 2] + bytes(200) + flac[len(flac) // 2 + 200 :],
    }


@pytest.mark.parametrize("case", damaged())
def test_bytes_that_are_no_audio_are_a_decode_error(case):
    with pytest.raises(AudioDecodeError):
        read_audio(damaged()[case])


def test_bytes_that_are_no_audio_are_a_decode_error_where_torchcodec_does_not_load(tmp_path, monkeypatch):
    # torchcodec without the FFmpeg it was built for fails when it is imported.
    (tmp_path / "torchcodec").mkdir()
    (tmp_path / "torchcodec/__init__.py").write_text("")
    (tmp_path / "torchcodec/decoders.py").write_text('raise RuntimeError("Could not load libtorchcodec.")')
    monkeypatch.syspath_prepend(tmp_path)
    with mock.patch.dict(sys.modules), pytest.raises(AudioDecodeError):
        for name in [name for name in sys.modules if name.split(".")[0] == "torchcodec"]:
            del sys.modules[name]
        read_audio(b"not a sound\n" * 100)


@pytest.mark.parametrize("url", [False, True])
def test_a_missing_file_is_an_os_error(url, tmp_path):
    path = tmp_path / "missing.wav"
    with pytest.raises(OSError):
        read_audio(path.as_uri() if url else path)


def test_an_os_error_is_no_decode_error():
    assert not issubclass(AudioDecodeError, OSError)


@pytest.mark.parametrize("channels", [1, 2, 6])
def test_wav_keeps_every_bit_beyond_full_scale_too(channels, tmp_path):
    waveform = 3 * torch.randn(channels, 1001, generator=torch.Generator().manual_seed(0))
    write_audio(tmp_path / "sound.wav", waveform, 22050)
    again, sampling_rate = read_audio(tmp_path / "sound.wav")
    assert sampling_rate == 22050
    assert torch.equal(again, waveform)


def test_a_waveform_that_needs_gradients_in_half_precision_is_written_as_it_is(tmp_path):
    waveform = torch.randn(2, 100, generator=torch.Generator().manual_seed(0)).bfloat16().requires_grad_()
    write_audio(tmp_path / "sound.wav", waveform, 48000)
    assert torch.equal(read_audio(tmp_path / "sound.wav")[0], waveform.detach().float())


def test_flac_is_written_within_one_quantisation_step(tmp_path):
    waveform = torch.from_numpy(breakbeat().T.copy())
    write_audio(tmp_path / "sound.flac", waveform, 44100)
    assert (read_audio(tmp_path / "sound.flac")[0] - waveform).abs().max() <= 2**-15


@pytest.mark.parametrize("ending", ["ogg", "mp3"])
def test_a_lossy_file_is_written_in_place_and_in_level(ending, tmp_path):
    waveform = torch.from_numpy(breakbeat().T.copy())
    write_audio(tmp_path / f"sound.{ending}", waveform, 44100)
    again, _ = read_audio(tmp_path / f"sound.{ending}")
    # Better than 10 dB: moved by one sample this sound leaves 3 dB.
    assert (again - waveform).square().sum() < 0.1 * waveform.square().sum()


@pytest.mark.parametrize(
    ("name", "rate", "highest"),
    [("a.flac", 700000, 655350), ("a.ogg", 200001, 200000), ("a.wav", 2**31, 2**31 - 1)],
)
def test_a_rate_that_a_format_does_not_have_is_refused(name: str, rate: int, highest: int, tmp_path: Path) -> None:
    # libsndfile 1.2 ends the process for Ogg Vorbis above 200 kHz.
    for wrong in (rate, 0, -1):
        with pytest.raises(ValueError, match=f"has no sampling rate of {wrong} Hz; use 1 to {highest} Hz"):
            write_audio(tmp_path / name, torch.zeros(1, 100), wrong)
    write_audio(tmp_path / name, torch.zeros(1, 100), highest)
    with pytest.raises(ValueError, match="above 65535 Hz, use a multiple of 10 Hz"):
        write_audio(tmp_path / "a.flac", torch.zeros(1, 100), 100001)


def test_minutes_of_vorbis_can_be_written(tmp_path):
    # In a process of its own: libsndfile writes Vorbis on the stack, and a stack overflow kills the process.
    waveform = torch.zeros(2, 44100 * 120)
    process = multiprocessing.get_context("fork").Process(
        target=write_audio, args=(tmp_path / "long.ogg", waveform, 44100)
    )
    process.start()
    process.join()
    assert process.exitcode == 0
    with open_audio(tmp_path / "long.ogg") as reader:
        assert reader.num_samples == waveform.shape[-1]


def by_ffmpeg(path: Path, codec: str) -> tuple[Path, Tensor]:
    """Encode a real sound with ffmpeg; skips without it. Returns the file and the sound."""
    pytest.importorskip("torchcodec")
    if shutil.which("ffmpeg") is None:
        pytest.skip("needs the ffmpeg binary")
    source = DATA / "held_out/loop_breakbeat.flac"
    subprocess.run(["ffmpeg", "-loglevel", "error", "-i", source, "-c:a", codec, path], check=True)
    return path, read_audio(source)[0]


@pytest.mark.parametrize(("ending", "codec"), [("m4a", "aac"), ("aac", "aac"), ("webm", "libopus"), ("m4a", "alac")])
def test_any_stretch_that_torchcodec_decodes_equals_the_slice_of_the_whole(ending, codec, tmp_path):
    path, _ = by_ffmpeg(tmp_path / f"sound.{ending}", codec)
    assert misread(path, count=60) == []
    with open_audio(path) as reader:
        end = reader.num_samples
        assert reader.read(end - 100, 1000).shape == (2, 100)
        assert reader.read(end, 1000).shape == (2, 0)


def test_torchcodec_decodes_a_lossless_file_to_the_samples_that_went_in(tmp_path):
    path, waveform = by_ffmpeg(tmp_path / "sound.m4a", "alac")
    assert torch.equal(read_audio(path)[0], waveform)


def test_torchcodec_refuses_what_is_no_audio(tmp_path):
    path, _ = by_ffmpeg(tmp_path / "sound.m4a", "aac")
    for content in (b"", b"not a sound\n" * 100, path.read_bytes()[:2000]):
        with pytest.raises(AudioDecodeError):
            read_audio(content)


@pytest.mark.parametrize("fork", ["._sound.{}", ".AppleDouble/sound.{}"])
@pytest.mark.parametrize("suffix", ["mp3", "wav", "flac", "ogg"])
def test_a_file_of_attributes_of_macos_changes_nothing(suffix: str, fork: str, tmp_path: Path) -> None:
    path, attributes = tmp_path / f"sound.{suffix}", tmp_path / fork.format(suffix)
    soundfile.write(path, np.random.default_rng(0).uniform(-0.5, 0.5, (9000, 2)), 44100)
    expected, _ = read_audio(path)
    attributes.parent.mkdir(exist_ok=True)
    attributes.write_bytes(b"\0\5\x16\7" + bytes(4092))  # AppleDouble
    assert torch.equal(read_audio(path)[0], expected)
