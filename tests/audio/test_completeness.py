"""Audio that is whole, cut or damaged, in files as encoders and pipes write them."""

import io
import os
import socket
import struct
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from hf_audio_vae.audio import AudioDecodeError, open_audio, read_audio, write_audio
from hf_audio_vae.audio.completeness import missing_part

REPO = Path(__file__).parents[2]
RATE = 44100
FORMATS = {
    "wav": ("WAV", "PCM_16"),
    "wav of 24 bits": ("WAV", "PCM_24"),
    "wav with extensions": ("WAVEX", "FLOAT"),
    "rf64": ("RF64", "PCM_16"),
    "w64": ("W64", "PCM_16"),
    "aiff": ("AIFF", "PCM_16"),
    "au": ("AU", "PCM_16"),
    "flac": ("FLAC", "PCM_16"),
    "vorbis": ("OGG", "VORBIS"),
    "opus": ("OGG", "OPUS"),
    "mp3": ("MP3", "MPEG_LAYER_III"),
}
COMPRESSED = ("flac", "vorbis", "opus", "mp3")


def encoded(name: str, *, rate: int | None = None, repeats: int = 2) -> bytes:
    """3.8 s of stereo drums."""
    samples = np.tile(soundfile.read(REPO / "data/held_out/loop_breakbeat.flac", dtype="float32")[0], (repeats, 1))
    container, subtype = FORMATS[name]
    stream = io.BytesIO()
    rate = rate or (48000 if name == "opus" else RATE)
    with soundfile.SoundFile(stream, "w", rate, 2, format=container, subtype=subtype) as file:
        for start in range(0, len(samples), 1 << 16):
            file.write(samples[start : start + (1 << 16)])
    return stream.getvalue()


@pytest.mark.parametrize(
    "path", sorted((REPO / "data").rglob("*.*g*")) + sorted((REPO / "data").rglob("*.flac")), ids=str
)
def test_real_files_are_whole(path: Path) -> None:
    with open(path, "rb") as stream:
        assert missing_part(stream) is None
        assert missing_part(stream, thorough=True) is None


@pytest.mark.parametrize("name", FORMATS)
def test_what_libsndfile_writes_is_whole(name: str) -> None:
    content = encoded(name)
    assert missing_part(io.BytesIO(content)) is None
    assert missing_part(io.BytesIO(content), thorough=True) is None
    with open_audio(content, thorough=True) as reader:
        assert reader.read(0, reader.num_samples).shape == (2, reader.num_samples)


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("share", [0.3, 0.5, 0.9])
def test_a_cut_file_is_refused_when_it_is_opened(name: str, share: float) -> None:
    content = encoded(name)
    with pytest.raises(AudioDecodeError, match="is incomplete"), open_audio(content[: round(share * len(content))]):
        pass


@pytest.mark.parametrize("container", ["NIST", "VOC", "SVX", "AVR", "MPC2K", "MAT5", "CAF", "AU"])
@pytest.mark.parametrize("channels", [1, 2])
def test_a_rarer_format_is_whole_or_refused(container: str, channels: int) -> None:
    if (container, channels) == ("SVX", 2):
        pytest.skip("libsndfile writes it in mono")
    samples = np.random.default_rng(0).uniform(-1, 1, (5000, channels))
    stream = io.BytesIO()
    soundfile.write(
        stream, samples, 16000, format=container, subtype="PCM_16", endian="LITTLE" if container == "AU" else None
    )
    content = stream.getvalue()
    assert read_audio(content)[0].shape == (channels, 5000)
    for length in (len(content) - 16, len(content) // 2):
        with pytest.raises(AudioDecodeError, match="incomplete"):
            read_audio(content[:length])
    with pytest.raises(AudioDecodeError):
        read_audio(content[:400])


def test_a_cut_psion_file_is_refused() -> None:
    stream = io.BytesIO()
    soundfile.write(stream, np.random.default_rng(0).uniform(-1, 1, 5000), 8000, format="WVE", subtype="ALAW")
    assert read_audio(stream.getvalue())[0].shape == (1, 5000)
    with pytest.raises(AudioDecodeError, match="incomplete"):
        read_audio(stream.getvalue()[:-16])


@pytest.mark.parametrize(("container", "subtype"), [("WAV", "GSM610"), ("WAV", "G721_32"), ("AU", "G723_24")])
def test_an_encoding_without_seeking_is_read_in_order(container: str, subtype: str) -> None:
    stream = io.BytesIO()
    soundfile.write(stream, np.random.default_rng(0).uniform(-1, 1, 4800), 8000, format=container, subtype=subtype)
    expected = soundfile.read(io.BytesIO(stream.getvalue()), dtype="float32")[0]
    assert np.array_equal(read_audio(stream.getvalue())[0][0], expected)
    with open_audio(stream.getvalue()) as reader:
        pieces = [reader.read(start, 1600) for start in (0, 1600, 3200)]
        assert np.array_equal(torch.cat(pieces, dim=-1)[0], expected[:4800])
        with pytest.raises(AudioDecodeError, match="convert it to PCM"):
            reader.read(0, 10)


def test_a_raw_file_is_refused_with_a_remedy(tmp_path: Path) -> None:
    (tmp_path / "sound.raw").write_bytes(bytes(4000))
    with pytest.raises(AudioDecodeError, match="convert it to WAV"):
        read_audio(tmp_path / "sound.raw")
    with pytest.raises(ValueError, match="cannot be written"):
        write_audio(tmp_path / "other.raw", torch.zeros(1, 10), 8000)


@pytest.mark.parametrize("name", FORMATS)
def test_a_file_that_lacks_one_byte_is_refused_when_it_is_read(name: str) -> None:
    with pytest.raises(AudioDecodeError, match="is incomplete"):
        read_audio(encoded(name)[:-1])


@pytest.mark.parametrize("name", ["vorbis", "opus"])
def test_whole_ogg_pages_without_an_end_mark_are_read_with_one_warning(
    name: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    content = encoded(name)
    whole, _ = read_audio(content)
    path = tmp_path / "broadcast.ogg"
    path.write_bytes(content[: content.rindex(b"OggS")])
    for _ in range(2):
        start, _ = read_audio(path)
        assert 0.4 * whole.shape[-1] < start.shape[-1] < whole.shape[-1]
        assert torch.equal(start[:, :-2048], whole[:, : start.shape[-1] - 2048])
    assert [record.getMessage() for record in caplog.records] == [
        f"{path} has no end mark. All of its pages are read; the sound may go on in a whole copy."
    ]


@pytest.mark.parametrize("name", ["vorbis", "opus", "flac"])
def test_each_flipped_bit_is_found_where_the_format_has_checksums(name: str) -> None:
    content = encoded(name, repeats=1)
    for position in np.random.default_rng(0).integers(len(content) // 4, len(content), 40):
        damaged = bytearray(content)
        damaged[position] ^= 16
        with pytest.raises(AudioDecodeError):
            read_audio(bytes(damaged))


@pytest.mark.parametrize("name", COMPRESSED)
def test_a_hole_in_the_middle_is_found(name: str) -> None:
    content = encoded(name)
    middle = len(content) // 2
    for damaged in (
        content[:middle] + content[middle + 9001 :],
        content[:middle] + bytes(9001) + content[middle + 9001 :],
    ):
        with pytest.raises(AudioDecodeError):
            read_audio(damaged)


def test_frames_that_are_missing_from_an_mp3_file_without_a_header_of_its_length_are_found() -> None:
    content = encoded("mp3").replace(b"Xing", b"----").replace(b"Info", b"----")
    assert missing_part(io.BytesIO(content), thorough=True) is None
    assert "MP3 frame" in missing_part(io.BytesIO(content[:-100]), thorough=True)
    assert "no MP3 frame follows" in missing_part(io.BytesIO(content[:9000] + content[9100:]), thorough=True)


@pytest.mark.parametrize("tag", [b"TAG" + bytes(125), b"APETAGEX" + bytes(60)])
def test_tags_around_mp3_frames_are_no_damage(tag: bytes) -> None:
    header = b"ID3\4\0\0\0\0\1\0" + bytes(128)  # 128 bytes long, in 7 bits a byte
    content = header + encoded("mp3") + tag
    assert missing_part(io.BytesIO(content), thorough=True) is None
    assert missing_part(io.BytesIO(content[: len(content) // 2])) is not None


def from_pipe(content: bytes, whole: int, data: int) -> bytes:
    """A WAV file with these sizes in its header."""
    position = content.index(b"data") + 4
    sized = content[:4] + struct.pack("<I", whole) + content[8:position] + struct.pack("<I", data)
    return sized + content[position + 4 :]


@pytest.mark.parametrize("whole", [0, 36, 0x7FFFF024, 0xFFFFFFFF])
@pytest.mark.parametrize("data", [0, 0x7FFFF000, 0x80000000, 0xFFFFFFFF - 36, 0xFFFFFFFF])
def test_all_data_of_a_wav_file_from_a_pipe_are_read(whole: int, data: int) -> None:
    content = encoded("wav", repeats=1)
    expected, _ = read_audio(content)
    piped, rate = read_audio(from_pipe(content, whole, data))
    assert rate == RATE
    assert piped.shape == expected.shape
    assert bool((piped == expected).all())


def test_an_empty_wav_file_with_notes_at_its_end_has_no_samples() -> None:
    stream = io.BytesIO()
    soundfile.write(stream, np.zeros((0, 1)), RATE, format="WAV")
    content = stream.getvalue() + b"LIST" + struct.pack("<I", 8) + b"INFOabcd"
    sized = content[:4] + struct.pack("<I", len(content) - 8) + content[8:]
    with pytest.raises(AudioDecodeError, match="no samples"):
        read_audio(sized)


@pytest.mark.parametrize("repeats", [1, 3])
def test_a_flac_file_from_a_pipe_is_read_to_its_end(repeats: int) -> None:
    content = encoded("flac", repeats=repeats)
    expected, _ = read_audio(content)
    piped = bytearray(content)
    piped[21:26] = (piped[21] & 0xF0).to_bytes(1, "big") + bytes(4)
    with open_audio(bytes(piped)) as reader:
        assert reader.num_samples == expected.shape[-1]
        assert bool((reader.read(1000, 500) == expected[:, 1000:1500]).all())
        assert bool((reader.read(0, reader.num_samples) == expected).all())


def test_a_false_length_allocates_no_memory() -> None:
    content = bytearray(encoded("flac"))
    content[21] |= 0x0F
    with pytest.raises(AudioDecodeError, match="samples is missing"):
        read_audio(bytes(content))
    mp3 = bytearray(encoded("mp3"))
    at = mp3.index(b"Xing") + 8
    mp3[at : at + 4] = b"\x7f\xff\xff\xff"
    with open_audio(bytes(mp3)) as reader:
        assert reader.read(0, 1 << 45).shape[-1] < 10 * RATE


def test_zeros_are_no_endless_list_of_chunks() -> None:
    assert missing_part(io.BytesIO(b"RIFF" + bytes(100_000_000))) is None


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        (struct.pack(">I4s8x", 16, b"ftyp") + struct.pack(">I4s", 100, b"mdat") + bytes(50), "mdat box has 58 of 100"),
        (struct.pack(">I4s8x", 16, b"ftyp") + struct.pack(">I4s", 58, b"mdat") + bytes(50), None),
        (struct.pack(">I4s8x", 16, b"ftyp") + struct.pack(">I4sQ", 1, b"mdat", 500) + bytes(9), "25 of 500"),
        (struct.pack(">I4s8x", 16, b"ftyp") + struct.pack(">I4s", 0, b"mdat") + bytes(50), None),
    ],
)
def test_boxes_of_mp4_are_measured(content: bytes, fault: str | None) -> None:
    found = missing_part(io.BytesIO(content))
    assert (found is None) if fault is None else (fault in str(found))


def test_other_formats_and_nothing_have_no_signs() -> None:
    for content in (
        b"",
        b"RIFF",
        b"OggS",
        b"\xff",
        b"ID3",
        b"not a sound\n" * 100,
        np.random.default_rng(0).bytes(5000),
    ):
        missing_part(io.BytesIO(content), thorough=True)


@pytest.mark.parametrize(
    "head", [b"\0\0\0\x20ftypM4A ", b"\xff\xf1\x50\x80", b"\x1a\x45\xdf\xa3"], ids=["m4a", "aac", "webm"]
)
def test_a_format_that_needs_another_reader_names_its_extra(head: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(AudioDecodeError, match=r"pip install 'hf-audio-vae\[m4a\]'"):
        read_audio(head + bytes(100))
    assert "m4a =\n    torchcodec" in (REPO / "setup.cfg").read_text()


def test_special_files_are_refused_and_never_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.wav")
    (tmp_path / "folder.wav").mkdir()
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tmp_path / "socket.wav"))
        for path in (tmp_path / "pipe.wav", tmp_path / "folder.wav", tmp_path / "socket.wav", Path("/dev/zero")):
            with pytest.raises(OSError, match="is a "):
                read_audio(path)


@pytest.mark.parametrize(
    ("rate", "subtype", "channels"), [(96000, "PCM_24", 6), (192000, "FLOAT", 1), (8000, "PCM_U8", 2)]
)
@pytest.mark.parametrize("container", ["WAV", "WAVEX", "RF64", "W64"])
def test_every_rate_depth_and_number_of_channels_is_read(
    rate: int, subtype: str, channels: int, container: str
) -> None:
    samples = np.random.default_rng(0).uniform(-1, 1, (999, channels)).astype("float32")
    stream = io.BytesIO()
    soundfile.write(stream, samples, rate, format=container, subtype=subtype)
    waveform, read_rate = read_audio(stream.getvalue())
    assert read_rate == rate
    assert np.abs(waveform.numpy().T - samples).max() <= {"PCM_24": 2**-23, "FLOAT": 0, "PCM_U8": 2**-6}[subtype]


def test_values_beyond_full_scale_are_kept() -> None:
    stream = io.BytesIO()
    soundfile.write(stream, np.array([[3.5], [-1000.0]]), RATE, format="WAV", subtype="FLOAT")
    assert read_audio(stream.getvalue())[0].tolist() == [[3.5, -1000.0]]


@pytest.mark.parametrize("name", ["wav", "flac", "aiff"])
def test_one_sample_is_a_sound(name: str) -> None:
    stream = io.BytesIO()
    soundfile.write(stream, np.array([[0.5]]), RATE, format=FORMATS[name][0])
    assert read_audio(stream.getvalue())[0].tolist() == [[0.5]]


def mutated(content: bytes, generator: np.random.Generator) -> bytes:
    """Flip, overwrite, insert, remove or repeat bytes, or cut the end; headers are hit more often."""
    data = bytearray(content)
    for _ in range(int(generator.integers(1, 5))):
        span = len(data) if generator.random() < 0.5 else min(len(data), 200)
        if not span:
            break
        at, count = int(generator.integers(span)), int(generator.integers(1, 40))
        match int(generator.integers(6)):
            case 0:
                data[at] ^= 1 << int(generator.integers(8))
            case 1:
                data[at : at + count] = generator.bytes(count)
            case 2:
                data[at:at] = generator.bytes(count)
            case 3:
                del data[at : at + count]
            case 4:
                data[at:at] = data[at : at + count]
            case 5:
                del data[at:]
    return bytes(data)


@pytest.mark.slow
@pytest.mark.filterwarnings("error")  # tracebacks in callbacks of libsndfile
@pytest.mark.parametrize("name", FORMATS)
def test_no_mutated_file_crashes_hangs_or_raises_anything_else(name: str) -> None:
    content = encoded(name, repeats=1)
    generator = np.random.default_rng(0)
    outcomes = {True: 0, False: 0}
    for _ in range(950):
        try:
            with open_audio(mutated(content, generator), thorough=bool(generator.integers(2))) as reader:
                waveform = reader.read(int(generator.integers(1 + reader.num_samples)), 4000)
                assert waveform.shape[0] == reader.audio_channels
            outcomes[True] += 1
        except AudioDecodeError:
            outcomes[False] += 1
    assert outcomes[False] > 100
