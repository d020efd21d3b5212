"""Folders as inputs of commands: all of their audio, under the same paths in the output folder."""

import shutil
from pathlib import Path

import pytest
import torch

from hf_audio_vae.audio import read_audio, write_audio
from hf_audio_vae.cli.main import main
from tests.cli.files import RATE, errors, names, noise


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two sounds of one name in sub-folders, one beside them, a hidden one and a text."""
    root = tmp_path / "kit"
    for number, name in enumerate(("a/kick.wav", "b/kick.wav", "snare.WAV", ".hidden.wav")):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        write_audio(root / name, noise(RATE // 4, number), RATE)
    (root / "a/notes.txt").write_text("loud")
    return root


def test_folders_are_coded_and_decoded_under_their_paths(
    model: str, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    encoded, decoded, reconstructed = (tmp_path / name for name in ("encoded", "decoded", "reconstructed"))
    options = ["--model", model, "--output_dir"]
    assert main(["encode", str(folder), "--latents_dtype", "float32", *options, str(encoded)]) == 0
    (line,) = [line for line in capsys.readouterr().err.splitlines() if str(folder) in line]
    assert "3 audio files" in line
    assert "1 other file left out (.txt 1)" in line
    assert main(["decode", str(encoded), *options, str(decoded)]) == 0
    assert main(["reconstruct", str(folder), *options, str(reconstructed)]) == 0
    output = capsys.readouterr().out
    for name in ("a/kick", "b/kick", "snare"):
        assert f"| {name} " in output
        sound, rate = read_audio(decoded / f"{name}.wav")
        assert rate == RATE
        torch.testing.assert_close(sound, read_audio(reconstructed / f"{name}.reconstruction.wav")[0])
    first, second = (read_audio(decoded / f"{name}/kick.wav")[0] for name in "ab")
    assert not torch.equal(first, second)
    assert main(["encode", str(folder), *options, str(encoded)]) == 0  # the same inputs replace their outputs


def test_files_and_folders_are_mixed_and_a_file_is_used_once(model: str, folder: Path, tmp_path: Path) -> None:
    given = [str(folder / "snare.WAV"), str(folder)]
    assert main(["stream", *given, "--model", model, "--output_dir", str(tmp_path / "out")]) == 0
    assert names(tmp_path / "out") == {"a", "b", "snare.stream.wav"}


def test_an_output_of_another_input_is_not_replaced_in_a_sub_folder(
    model: str, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = tmp_path / "other"
    shutil.copytree(folder, other)
    command = ["encode", "--model", model, "--output_dir", str(tmp_path / "out")]
    assert main([*command, str(folder)]) == 0
    assert main([*command, str(other)]) == 2
    (line,) = errors(capsys)
    assert "kick.safetensors exists and was not made from" in line


@pytest.mark.parametrize("verb", ["reconstruct", "encode", "stream", "decode"])
def test_a_folder_without_inputs_and_results_among_the_inputs_are_refused(
    verb: str, model: str, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "empty").mkdir()
    options = ["--model", model, "--output_dir"]
    assert main([verb, str(tmp_path / "empty"), *options, str(tmp_path / "out")]) == 2
    (line,) = errors(capsys)
    assert f"{tmp_path / 'empty'} is a folder; name a file" in line
    assert main([verb, str(folder), *options, str(folder / "out")]) == 2
    (line,) = errors(capsys)
    assert "whose files are the inputs; name a folder outside of it" in line
    assert not (folder / "out").exists()
