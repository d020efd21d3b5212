"""Sounds between sounds, by the command line."""

from itertools import product
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from hf_audio_vae import STFTVAE, SpectrogramVAE, WaveformVAE, WaveVAE, WaveVAEConfig
from hf_audio_vae.audio import read_audio, resample, write_audio
from hf_audio_vae.cli.main import main
from hf_audio_vae.latents import ALIGNMENTS, interpolate, loop, moving_morph, stretch
from hf_audio_vae.latents.interpolation import METHODS
from hf_audio_vae.models import load_autoencoder
from hf_audio_vae.models.fingerprint import model_fingerprint
from hf_audio_vae.tokens import CodesInfo, CodeTokens, save_tokens
from tests.cli.files import DATA, RATE, errors, names, noise
from tests.cli.test_sample_by_sample import CONFIG
from tests.cli.test_token_vae import CODEC, WaveformVQVAE
from tests.models.token_vae.tiny import tiny_token_vae

SPECTROGRAM = {
    "downsampling_ratios": (40, 2),
    "bin_ratios": (2, 2),
    "block_out_channels": (8, 8),
    "layers_per_block": 1,
    "mel_bins": 16,
    "latent_channels": 2,
    "window_length": 256,
    "sampling_rate": RATE,
}
FAMILIES = {
    "WaveformVAE": lambda: WaveformVAE(4, (4, 5), (1, 2), 4, 2, 1, RATE),
    "STFTVAE": lambda: STFTVAE((32, 2), (16, 24), (1, 1), 4, audio_channels=1, sampling_rate=RATE, window_length=128),
    "SpectrogramVAE": lambda: SpectrogramVAE("mel", **SPECTROGRAM),
    "WaveVAE": lambda: WaveVAE(WaveVAEConfig(**CONFIG)),
}


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """A model of each family with latents, a codec, and a TokenVAE of its codes."""
    folder = tmp_path_factory.mktemp("models")
    with torch.random.fork_rng():
        torch.manual_seed(0)
        for name, family in FAMILIES.items():
            family().save_pretrained(folder / name)
        WaveformVAE(4, (32, 64), (1, 2), 4, 2, 1, RATE).save_pretrained(folder / "long frames")
        codec = WaveformVQVAE(CODEC).eval()
        tokens = CodeTokens((6, 6), "delayed")
        tiny_token_vae(vocab_size=tokens.vocab_size).save_pretrained(folder / "TokenVAE")
    codec.save_pretrained(folder / "codec")
    info = CodesInfo(str(folder / "codec"), model_fingerprint(codec), (), (100.0,), 8)
    save_tokens(folder / "TokenVAE", tokens, info)
    return {path.name: str(path) for path in folder.iterdir()}


@pytest.fixture
def files(tmp_path: Path) -> list[str]:
    """Sounds of three lengths, none of them whole frames."""
    for name, samples in (("long", 3333), ("short", 1131), ("middle", 2222)):
        write_audio(tmp_path / f"{name}.wav", noise(samples, samples), RATE)
    return [str(tmp_path / f"{name}.wav") for name in ("long", "short", "middle")]


def decoded(model: str, file: str, folder: Path) -> Tensor:
    """What `encode` and `decode` make of a file."""
    assert (
        main(
            [
                "encode",
                file,
                "--model",
                model,
                "--output_dir",
                str(folder),
                "--overwrite",
                "--latents_dtype",
                "float32",
            ]
        )
        == 0
    )
    latents = str(folder / f"{Path(file).stem}.safetensors")
    assert main(["decode", latents, "--output_dir", str(folder), "--overwrite"]) == 0
    return read_audio(folder / f"{Path(file).stem}.wav")[0]


def written(folder: Path) -> list[Tensor]:
    return [read_audio(path)[0] for path in sorted(folder.glob("*.wav"))]


def mode_of(model: str, file: str) -> Tensor:
    with torch.no_grad():
        return load_autoencoder(model).eval().encode(read_audio(file)[0][None]).latent_dist.mode()[0]


@pytest.mark.parametrize("family", FAMILIES)
def test_the_points_of_a_path_are_the_reconstructions_bit_by_bit(
    family: str, folders: dict[str, str], files: list[str], tmp_path: Path
) -> None:
    model, out = folders[family], tmp_path / "out"
    assert main(["morph", *files, "--model", model, "--num_waveforms", "5", "--output_dir", str(out)]) == 0
    sounds = written(out)
    assert len(sounds) == 5
    for file, sound in zip(files, sounds[::2], strict=True):
        assert torch.equal(sound, decoded(model, file, tmp_path / "decoded"))


def test_both_ends_are_what_reconstruct_writes(model: str, files: list[str], tmp_path: Path) -> None:
    assert main(["reconstruct", *files[:2], "--model", model, "--output_dir", str(tmp_path / "reconstructed")]) == 0
    expected = [read_audio(tmp_path / f"reconstructed/{name}.reconstruction.wav")[0] for name in ("long", "short")]
    for align, method in product(ALIGNMENTS, METHODS):
        out = tmp_path / align / method
        options = ["--align", align, "--method", method, "--num_waveforms", "2", "--output_dir", str(out)]
        assert main(["morph", *files[:2], "--model", model, *options]) == 0
        assert all(map(torch.equal, written(out), expected))


@pytest.mark.parametrize("method", METHODS)
def test_the_sound_halfway_is_decoded_from_the_latents_halfway(
    method: str, model: str, files: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ["--method", method, "--num_waveforms", "3", "--output_dir", str(tmp_path / "out")]
    assert main(["morph", *files[:2], "--model", model, *options]) == 0
    first, second = (mode_of(model, file) for file in files[:2])
    frames = (first.shape[1] + second.shape[1]) // 2
    between = interpolate(stretch(first, frames), stretch(second, frames), 0.5, method=method)
    with torch.no_grad():
        expected = load_autoencoder(model).eval().decode(between[None]).sample[0]
    halfway = written(tmp_path / "out")[1]
    assert halfway.shape == (1, 2232)  # the padding of the last frame is that halfway, too
    torch.testing.assert_close(halfway, expected[:, :2232], rtol=0, atol=1e-5)
    lines = capsys.readouterr().out.splitlines()
    assert lines == [
        f"{tmp_path}/out/00-long-to-short.wav: 0.417 s, 1.000 long",
        f"{tmp_path}/out/01-long-to-short.wav: 0.279 s, 0.500 long + 0.500 short",
        f"{tmp_path}/out/02-long-to-short.wav: 0.141 s, 1.000 short",
    ]


@pytest.mark.parametrize("align", ALIGNMENTS)
def test_no_sound_of_a_path_is_longer_or_shorter_than_both_ends_however_long_a_frame_is(
    align: str, folders: dict[str, str], files: list[str], tmp_path: Path
) -> None:
    model, out = folders["long frames"], ["--output_dir", str(tmp_path / "out"), "--align", align]
    assert main(["morph", *files[:2], "--model", model, "--num_waveforms", "5", *out]) == 0
    lengths = [sound.shape[1] for sound in written(tmp_path / "out")]
    assert lengths == ([3333, 3333, 3333, 3333, 1131] if align == "loop" else [3333, 2782, 2232, 1682, 1131])


@pytest.mark.parametrize("align", ["stretch", "loop"])
def test_a_moving_sound_is_as_long_as_the_longest_however_long_a_frame_is(
    align: str, folders: dict[str, str], files: list[str], tmp_path: Path
) -> None:
    out = ["--output_dir", str(tmp_path / "out"), "--align", align]
    assert main(["morph", *files, "--model", folders["long frames"], "--moving", *out]) == 0
    assert [sound.shape[1] for sound in written(tmp_path / "out")] == [3333]


@pytest.mark.parametrize("align", ALIGNMENTS)
def test_a_moving_sound_is_decoded_from_moving_latents(
    align: str, model: str, files: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = ["--output_dir", str(tmp_path / "out")]
    assert main(["morph", *files, "--model", model, "--moving", "--align", align, *out]) == 0
    latents = moving_morph(ALIGNMENTS[align]([mode_of(model, file) for file in files]))
    with torch.no_grad():
        expected = load_autoencoder(model).eval().decode(latents[None]).sample[0]
    (moving,) = written(tmp_path / "out")
    # the longest file, or by warping as much padding as the last file has
    assert moving.shape[1] == (latents.shape[1] * 20 - 18 if align == "warp" else 3333)
    torch.testing.assert_close(moving, expected[:, : moving.shape[1]], rtol=0, atol=1e-5)
    (line,) = capsys.readouterr().out.splitlines()
    assert line.startswith(f"{tmp_path}/out/long-to-middle.wav: ")
    assert line.endswith(" s, from long to short to middle")


def largest_flux(waveform: Tensor) -> float:
    """Largest rise of the magnitudes above 6 kHz from one frame to the next, where clicks of tones are seen."""
    spectra = torch.stft(waveform[0], 1024, 256, window=torch.hann_window(1024), return_complex=True).abs()[256:]
    return float(spectra.diff(dim=-1).clamp(min=0).sum(dim=0)[4:-4].max())  # without the edges of the file


@pytest.mark.parametrize("align", ALIGNMENTS)
def test_a_moving_sound_has_no_click_that_its_ends_do_not_have(align: str, tmp_path: Path) -> None:
    files = [str(DATA / name) for name in ("flute_C5.ogg", "violin_C5.ogg", "piano_A5_v12.ogg")]
    assert main(["morph", *files, "--moving", "--align", align, "--output_dir", str(tmp_path)]) == 0
    (moving,) = written(tmp_path)
    loudest = max(largest_flux(resample(*read_audio(file), 24000)) for file in files)
    assert largest_flux(moving) < 1.1 * loudest
    cut = moving.clone()
    cut[:, int(moving[:, 20000:24000].argmax()) + 20001 :] = 0
    assert largest_flux(cut) > 1.1 * loudest, "the measure sees a sound that is cut off"


def test_a_seam_of_a_loop_is_less_of_a_click_than_a_splice() -> None:
    model = load_autoencoder("stft-vae-24khz").eval()
    for name in ("violin_C5.ogg", "music_rock_war_guitar.ogg"):
        sound = resample(*read_audio(DATA / name), 24000)[:1, 12032:24320]  # 24 frames
        with torch.no_grad():
            latents = model.encode(sound[None]).latent_dist.mode()
            once, repeated = (model.decode(loop(latents, frames)).sample[0] for frames in (24, 48))
        assert largest_flux(repeated) < 1.1 * largest_flux(once)
        assert largest_flux(repeated) < largest_flux(once.repeat(1, 2))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["FILE"], "is the only file; name two sounds or more"),
        (["FILE", "FILE", "--num_waveforms", "1"], "--num_waveforms is 1; give 2 to 1000"),
        (["FILE", "FILE", "--num_waveforms", "2000"], "--num_waveforms is 2000; give 2 to 1000"),
        (["FILE", "FILE", "--moving", "--num_waveforms", "3"], "--num_waveforms has no effect with --moving"),
        (["FILE", "nowhere.wav"], "nowhere.wav"),
    ],
)
def test_wrong_arguments_are_one_line(
    arguments: list[str],
    message: str,
    model: str,
    files: list[str],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    given = [files[0] if argument == "FILE" else argument for argument in arguments]
    assert main(["morph", *given, "--model", model, "--output_dir", str(tmp_path / "out")]) == 2
    (line,) = errors(capsys)
    assert message in line
    assert not list(tmp_path.glob("out/*"))


def test_codes_are_refused_with_what_works(
    folders: dict[str, str], files: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = ["--output_dir", str(tmp_path / "out")]
    assert main(["morph", *files, "--model", folders["codec"], *out]) == 2
    (line,) = errors(capsys)
    assert "there is no path between codes; name a VAE with --model, or interpolate with a TokenVAE" in line
    assert f"hf-audio-vae generate TOKENVAE --init_audio {files[0]} --interpolate_to {files[2]}" in line
    assert main(["morph", *files, "--model", folders["TokenVAE"], *out]) == 2
    (line,) = errors(capsys)
    _, command = line.split("interpolate with: hf-audio-vae ")
    assert not (tmp_path / "out").exists()
    assert main([*command.split(), *out]) == 0, "the command that the line names"
    assert len(written(tmp_path / "out")) == 9


@pytest.mark.parametrize(("num_files", "options"), [(3, ["--num_waveforms", "2"]), (10, [])])
def test_a_path_that_would_leave_sounds_out_is_refused(
    num_files: int,
    options: list[str],
    model: str,
    files: list[str],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    chosen = [files[index % 3] for index in range(num_files)]
    command = ["morph", *chosen, "--model", model, "--output_dir", str(tmp_path / "out")]
    assert main([*command, *options]) == 2
    assert (
        f"for a path through {num_files} sounds, some of which would be left out; give {num_files} or more"
        in (errors(capsys)[0])
    )
    assert main([*command, "--num_waveforms", str(num_files)]) == 0
    assert len(written(tmp_path / "out")) == num_files
    assert main([*command, "--moving"]) == 0, "the number is that of a path"


def test_files_are_not_replaced_unasked_and_those_of_a_longer_path_are_named(
    model: str, files: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    command = ["morph", *files[:2], "--model", model, "--output_dir", str(out)]
    assert main([*command, "--num_waveforms", "4"]) == 0
    assert main([*command, "--moving"]) == 0
    assert errors(capsys) == []
    assert main([*command, "--num_waveforms", "3"]) == 2
    assert "00-long-to-short.wav exists; name another --output_dir, or give --overwrite" in errors(capsys)[0]
    assert main([*command, "--num_waveforms", "3", "--overwrite"]) == 0
    assert "1 older file(s) that were not replaced: 03-long-to-short.wav" in capsys.readouterr().err
    assert names(out) == {*(f"0{step}-long-to-short.wav" for step in range(4)), "long-to-short.wav"}


def test_an_output_that_is_not_finite_is_no_file(
    files: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    broken = FAMILIES["WaveformVAE"]()
    for parameter in broken.decoder.parameters():
        nn.init.constant_(parameter, 1e30)
    broken.save_pretrained(tmp_path / "broken")
    options = ["--model", str(tmp_path / "broken"), "--output_dir", str(tmp_path / "out")]
    assert main(["morph", *files, *options]) == 2
    assert "NaN or infinite" in errors(capsys)[0]
    assert not (tmp_path / "out").exists()
