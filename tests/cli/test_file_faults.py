"""Files that cannot be read or written, and runs that end early."""

import os
import resource
import signal
import sys
import threading
import time
from pathlib import Path

import pytest
import soundfile
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from hf_audio_vae import WaveformVAE
from hf_audio_vae.audio import write_audio
from hf_audio_vae.cli.main import main
from tests.cli.files import FILE_VERBS, RATE, SPEECH, errors, in_child, names, noise


@pytest.mark.parametrize("verb", FILE_VERBS)
def test_one_bad_file_stops_no_other(
    verb: str, model: str, sounds: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cut = sounds / "cut.wav"
    cut.write_bytes((sounds / "1.wav").read_bytes()[:3000])
    (sounds / "empty.ogg").touch()
    nan = sounds / "nan.wav"
    write_audio(nan, noise(2000) * torch.nan, RATE)
    (sounds / "folder.wav").mkdir()
    bad = [cut, sounds / "empty.ogg", nan, sounds / "folder.wav", sounds / "missing.flac"]
    files = [str(path) for path in (bad[0], sounds / "1.wav", *bad[1:], sounds / "2.wav")]
    out = tmp_path / "out"
    assert main([verb, *files, "--model", model, "--output_dir", str(out)]) == 1
    printed, told = capsys.readouterr()
    lines = [line for line in told.splitlines() if line.startswith(f"hf-audio-vae {verb}: ")]
    assert [str(path) for path in bad] == [
        line.split(": ", 1)[1][: len(str(path))] for line, path in zip(lines, bad, strict=True)
    ]
    assert "its data has" in lines[0]
    assert "5 of 7 files failed" in told
    assert {name.split(".")[0] for name in names(out)} == {"1", "2"}
    rows = [line.split()[1] for line in printed.splitlines() if line.startswith("| ")]
    assert verb == "encode" or rows == ["file", "1", "2"]
    assert main([verb, *map(str, bad), "--model", model, "--output_dir", str(out)]) == 2
    assert "files failed" not in capsys.readouterr().err


def test_one_bad_file_of_latents_stops_no_other(
    model: str, sounds: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    main(["encode", str(sounds / "1.wav"), str(sounds / "2.wav"), "--model", model, "--output_dir", str(out)])
    (out / "2.safetensors").write_bytes((out / "2.safetensors").read_bytes()[:-100])
    os.mkfifo(out / "3.safetensors")
    files = [str(out / f"{number}.safetensors") for number in (2, 3, 4, 1)]
    assert main(["decode", *files, "--output_dir", str(tmp_path / "decoded")]) == 1
    assert len(errors(capsys)) == 3
    assert names(tmp_path / "decoded") == {"1.wav"}
    assert main(["decode", *files[:3], "--output_dir", str(tmp_path / "decoded")]) == 2


@pytest.mark.parametrize(
    "changes",
    [{"sampling_rate": "0"}, {"num_samples": "0"}, {"num_samples": "-5"}, {"num_samples": "1000000000"}],
    ids=str,
)
def test_latents_that_claim_what_cannot_be_are_refused(
    changes: dict[str, str], model: str, sounds: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    latents = tmp_path / "1.safetensors"
    main(["encode", str(sounds / "1.wav"), "--model", model, "--output_dir", str(tmp_path)])
    with safe_open(latents, "pt") as file:
        metadata = file.metadata()
    save_file(load_file(latents), latents, metadata | changes)
    assert main(["decode", str(latents), "--output_dir", str(tmp_path / "out")]) == 2
    (line,) = errors(capsys)
    assert str(latents) in line
    assert names(tmp_path / "out") == set()


@pytest.mark.parametrize("verb", [*FILE_VERBS, "decode", "evaluate", "inspect", "convert", "export"])
def test_weights_that_are_not_finite_are_named(
    verb: str, model: str, sounds: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    main(["encode", str(sounds / "1.wav"), "--model", model, "--output_dir", str(tmp_path)])
    broken = WaveformVAE.from_pretrained(model)
    with torch.no_grad():
        broken.decoder.conv1.bias[0] = torch.nan
    broken.save_pretrained(tmp_path / "broken")
    bad, out = str(tmp_path / "broken"), ["--output_dir", str(tmp_path / "out")]
    dataset = ["--dataset_name", str(sounds)]
    command = {
        "decode": [str(tmp_path / "1.safetensors"), "--model", bad, *out],
        "evaluate": ["--model", bad, *dataset],
        "inspect": [bad, *dataset],
        "convert": [bad, str(tmp_path / "converted"), "--from", "hf_audio_vae", "--to", "oobleck"],
        "export": [bad, *out],
    }.get(verb, [str(sounds / "1.wav"), "--model", bad, *out])
    assert main([verb, *command]) == 2
    (line,) = errors(capsys)
    assert "its weight `decoder.conv1.bias` has NaN" in line
    assert not list(tmp_path.glob("out/*.*"))


@pytest.mark.parametrize("verb", [*FILE_VERBS, "evaluate", "inspect"])
def test_output_that_overflows_is_an_error(
    verb: str, model: str, sounds: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    loud = WaveformVAE.from_pretrained(model)
    with torch.no_grad():
        for network in (loud.encoder, loud.decoder):
            network.conv1.weight_g.fill_(1e10)
            network.conv2.weight_g.fill_(3e38)
    loud.save_pretrained(tmp_path / "loud")
    place = ["--model", str(tmp_path / "loud")]
    dataset = ["--dataset_name", str(sounds)]
    command = {"evaluate": [*place, *dataset], "inspect": [place[1], *dataset]}.get(
        verb, [str(sounds / "1.wav"), *place, "--output_dir", str(tmp_path / "out")]
    )
    assert main([verb, *command]) == 2
    printed, told = capsys.readouterr()
    assert "NaN or infinite" in told
    assert "nan" not in printed
    assert not list(tmp_path.glob("out/*.*"))


@pytest.mark.parametrize("verb", [*FILE_VERBS, "decode", "convert", "export"])
def test_pipes_are_never_waited_for(verb: str, model: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pipe = tmp_path / "x.safetensors"
    os.mkfifo(pipe)
    folder = tmp_path / "model"
    folder.mkdir()
    os.mkfifo(folder / "config.json")
    out = ["--output_dir", str(tmp_path / "out")]
    conversion = [str(tmp_path / "new"), "--from", "hf_audio_vae", "--to", "oobleck"]
    commands = {
        "decode": [[str(pipe), *out]],
        "convert": [[str(folder), *conversion]],
        "export": [[str(folder), *out]],
    }.get(verb, [[str(pipe), "--model", model, *out], [str(SPEECH), "--model", str(folder), *out]])
    for command in commands:
        assert main([verb, *command]) == 2
        (line,) = errors(capsys)
        assert "is a pipe, a socket or a device" in line


@pytest.mark.parametrize("encoding", ["DWVW_16", "DWVW_24"])
def test_an_encoding_that_cannot_be_decoded_is_named_with_the_file_and_a_remedy(
    encoding: str, model: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "old.aiff"
    soundfile.write(path, noise(4000)[0].numpy(), RATE, format="AIFF", subtype=encoding)
    assert main(["encode", str(path), "--model", model, "--output_dir", str(tmp_path / "out")]) == 2
    (line,) = errors(capsys)
    assert line.startswith(f"hf-audio-vae encode: {path}: the audio cannot be decoded (")
    assert line.endswith("; convert it to PCM, or use an intact copy.")


@pytest.mark.parametrize("verb", ["evaluate", "inspect"])
@pytest.mark.parametrize("seconds", ["inf", "nan", "0", "-1", "-inf"])
def test_a_length_that_is_none_is_refused_before_the_model_is_loaded(
    verb: str, seconds: str, capsys: pytest.CaptureFixture[str]
) -> None:
    model = ["/nowhere"] if verb == "inspect" else ["--model", "/nowhere"]
    assert main([verb, *model, "--dataset_name", "/nowhere", f"--max_seconds={seconds}"]) == 2
    assert "--max_seconds is" in errors(capsys)[0]


@pytest.mark.parametrize("verb", FILE_VERBS)
def test_a_folder_that_cannot_be_written_is_found_before_the_model_is_loaded(
    verb: str, sounds: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").touch()
    for folder in ("/proc/none", str(tmp_path / "file"), str(tmp_path / "file/below")):
        assert main([verb, str(sounds / "1.wav"), "--model", "/nowhere", "--output_dir", folder]) == 2
        (line,) = errors(capsys)
        assert f"--output_dir {folder} cannot be written" in line


@pytest.mark.parametrize("verb", [*FILE_VERBS, "decode"])
def test_a_full_disk_is_one_line_and_leaves_no_torn_file(verb: str, model: str, sounds: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    write_audio(sounds / "long.wav", noise(200_000), RATE)
    source = sounds / "long.wav"
    if verb == "decode":
        main(["encode", str(source), "--model", model, "--output_dir", str(tmp_path)])
        source = tmp_path / "long.safetensors"

    def run() -> int:
        resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, 50_000))  # writes fail from here on
        options = [] if verb == "decode" else ["--model", model]
        return main([verb, str(source), *options, "--output_dir", str(out)])

    assert in_child(run, tmp_path / "err") == 2, (tmp_path / "err").read_text()
    told = [line for line in (tmp_path / "err").read_text().splitlines() if line]
    assert len(told) == 1
    assert told[0].count("cannot be written: ") == 1
    assert "File too large" in told[0]
    assert not out.exists()


def test_a_closed_pipe_ends_quietly(model: str, sounds: Path, tmp_path: Path) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    command = ["encode", str(sounds / "1.wav"), "--model", model, "--output_dir", str(tmp_path / "out")]
    assert in_child(lambda: main(command), tmp_path / "err", writing) == 141
    os.close(writing)
    assert (tmp_path / "err").read_text() == ""


def test_an_interrupt_is_one_line_and_leaves_no_torn_file(model: str, sounds: Path, tmp_path: Path) -> None:
    write_audio(sounds / "long.wav", noise(RATE * 600), RATE)

    def run() -> int:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        partial = lambda: any("partial" in path.name for path in tmp_path.glob("out/.*"))  # noqa: E731

        def interrupt() -> None:
            while not partial():
                time.sleep(0.01)
            os.kill(os.getpid(), signal.SIGINT)

        threading.Thread(target=interrupt, daemon=True).start()
        return main(["reconstruct", str(sounds / "long.wav"), "--model", model, "--output_dir", str(tmp_path / "out")])

    assert in_child(run, tmp_path / "err") == 130
    assert (tmp_path / "err").read_text().splitlines() == ["hf-audio-vae: interrupted"]
    assert list((tmp_path / "out").iterdir()) == []


def test_a_missing_standard_input_changes_nothing(
    model: str, sounds: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stdin", None)
    command = ["encode", str(sounds / "1.wav"), "--model", model, "--output_dir", str(tmp_path / "out")]
    assert main(command) == 0
