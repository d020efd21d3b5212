"""Names of the files that verbs write, and files that are there already."""

import os
from pathlib import Path, PurePath

import pytest

from hf_audio_vae.audio import read_audio, write_audio
from hf_audio_vae.cli.main import main
from hf_audio_vae.cli.outputs import Outputs, fitting, printable
from tests.cli.files import FILE_VERBS, RATE, errors, in_child, names, noise


def test_two_inputs_of_one_name_are_refused_before_any_work(
    model: str, sounds: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "other").mkdir()
    other = tmp_path / "other/1.flac"
    write_audio(other, noise(100), RATE)
    for verb in FILE_VERBS:
        assert (
            main([verb, str(sounds / "1.wav"), str(other), "--model", model, "--output_dir", str(tmp_path / "out")])
            == 2
        )
        (line,) = errors(capsys)
        assert str(sounds / "1.wav") in line
        assert str(other) in line
        assert not (tmp_path / "out").exists()


def test_outputs_of_names_that_end_alike_do_not_meet(tmp_path: Path) -> None:
    paths = [tmp_path / "a.wav", tmp_path / "a.original.wav"]
    inputs = {path: PurePath(path.name) for path in paths}
    endings = (".original.wav", ".reconstruction.wav", ".png")
    outputs = Outputs(inputs, tmp_path / "out", endings, overwrite=False)
    assert outputs[paths[0]] != outputs[paths[1]]
    with pytest.raises(ValueError, match="is an input and would be replaced"):
        Outputs(inputs, tmp_path, endings, overwrite=True)


@pytest.mark.parametrize(
    "name",
    [
        "...wav",
        "..wav",
        "a\nb.wav",
        "\x1b[31mred.wav",
        "Ünïcödé 音.wav",
        "a|b.wav",
        "$\\frac$.wav",
        "x" * 250 + ".wav",
        "音" * 83 + ".wav",
        "% #'\";.wav",
        "-.wav",
    ],
    ids=ascii,
)
def test_any_name_is_kept_inside_the_output_folder(
    name: str, model: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "in").mkdir()
    write_audio(tmp_path / "in/sound.wav", noise(3000), RATE)
    source = (tmp_path / "in/sound.wav").rename(tmp_path / "in" / name)
    out = tmp_path / "out"
    assert main(["reconstruct", str(source), "--model", model, "--output_dir", str(out)]) == 0
    printed = capsys.readouterr().out
    assert len(printed.splitlines()) == 4, "a table of three lines, and the folder"
    assert printed.splitlines()[2].replace("\\|", "").count("|") == 6
    assert "\x1b" not in printed
    assert names(tmp_path) == {"in", "out"}
    written = sorted(out.glob("*.wav")) + sorted(out.glob("*.png"))
    assert len(written) == 3
    for ending in ("original.wav", "reconstruction.wav", "png"):
        assert (out / f"{fitting(Path(name).stem, 236)}.{ending}").is_file()
        assert read_audio(source)[1] == RATE


def test_bytes_that_are_no_text_are_a_name(model: str, tmp_path: Path) -> None:
    source = os.fsdecode(os.fsencode(tmp_path) + b"/\xff\xfe.wav")
    write_audio(source, noise(3000), RATE)
    arguments = ["--output_dir", str(tmp_path / "out")]
    code = in_child(lambda: main(["encode", source, "--model", model, *arguments]), tmp_path / "err")
    assert code == 0, (tmp_path / "err").read_text()
    assert os.listdir(os.fsencode(tmp_path / "out")) != []
    missing = os.fsdecode(b"/\xff\xfe")
    assert in_child(lambda: main(["encode", missing, "--model", model, *arguments]), tmp_path / "err") == 2
    assert len((tmp_path / "err").read_text().splitlines()) == 1


def test_long_stems_that_begin_alike_stay_apart() -> None:
    stems = {fitting("x" * 250 + str(number), 236) for number in range(50)}
    assert len(stems) == 50
    assert max(len(stem.encode()) for stem in stems) <= 236
    assert printable("a\n\udcff") == "a\\n\\udcff"


def test_decoding_beside_the_source_never_replaces_it(
    model: str, sounds: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = (sounds / "1.wav").read_bytes()
    assert main(["encode", str(sounds / "1.wav"), "--model", model, "--output_dir", str(sounds)]) == 0
    assert main(["decode", str(sounds / "1.safetensors"), "--output_dir", str(sounds)]) == 2
    (line,) = errors(capsys)
    assert "1.wav exists and was not made from" in line
    assert (sounds / "1.wav").read_bytes() == before
    assert main(["decode", str(sounds / "1.safetensors"), "--output_dir", str(sounds), "--overwrite"]) == 0
    assert (sounds / "1.wav").read_bytes() != before


def test_the_same_input_replaces_its_result_and_another_does_not(
    model: str, sounds: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, other = tmp_path / "out", tmp_path / "other"
    other.mkdir()
    write_audio(other / "1.wav", noise(5000, 7), RATE)
    for verb in FILE_VERBS:
        made = [verb, str(sounds / "1.wav"), "--model", model, "--output_dir", str(out)]
        theirs = [verb, str(other / "1.wav"), "--model", model, "--output_dir", str(out)]
        assert main(made) == 0
        assert main(made) == 0
        assert main(theirs) == 2
        assert "give --overwrite" in errors(capsys)[0]
        assert main([*theirs, "--overwrite"]) == 0
        assert main(made) == 2, "the result is now that of the other"


def test_a_result_that_was_changed_since_is_not_replaced(model: str, sounds: Path, tmp_path: Path) -> None:
    command = ["encode", str(sounds / "1.wav"), "--model", model, "--output_dir", str(tmp_path / "out")]
    assert main(command) == 0
    (tmp_path / "out/1.safetensors").write_text("mine")
    assert main(command) == 2
    (tmp_path / "out/.hf-audio-vae.jsonl").write_text('{"1.safetensors": [\n[]\n7\nnull\n')
    assert main(command) == 2
    assert (tmp_path / "out/1.safetensors").read_text() == "mine"


@pytest.mark.parametrize("target", ["elsewhere.txt", "missing.txt"])
def test_a_link_in_the_place_of_an_output_is_not_followed(
    target: str, model: str, sounds: Path, tmp_path: Path
) -> None:
    (tmp_path / "elsewhere.txt").write_text("mine")
    (tmp_path / "out").mkdir()
    (tmp_path / "out/1.safetensors").symlink_to(tmp_path / target)
    command = ["encode", str(sounds / "1.wav"), "--model", model, "--output_dir", str(tmp_path / "out")]
    assert main(command) == 2
    assert main([*command, "--overwrite"]) == 0
    assert not (tmp_path / "out/1.safetensors").is_symlink()
    assert (tmp_path / "elsewhere.txt").read_text() == "mine"
    assert not (tmp_path / "missing.txt").exists()
