"""Files that verbs read and write: names, faults, interruptions, and memory."""

import os
import resource
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from hf_audio_vae import WaveformVAE, WaveformVQVAE, WaveformVQVAEConfig
from hf_audio_vae.audio import read_audio, write_audio
from hf_audio_vae.cli.main import main
from hf_audio_vae.cli.outputs import Outputs, fitting, printable
from hf_audio_vae.evaluation.metrics import reconstruction_metrics

DATA = Path(__file__).parents[2] / "data/held_out"
SPEECH = DATA / "speech_en_0890.flac"  # 16 kHz, mono, 5.3 s
RATE = 8000
FILE_VERBS = ("reconstruct", "encode", "stream")


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("model")
    with torch.random.fork_rng():
        torch.manual_seed(0)
        WaveformVAE(4, (4, 5), (1, 2), 4, 2, 1, RATE).save_pretrained(folder)
    return str(folder)


@pytest.fixture
def sounds(tmp_path: Path) -> Path:
    """Two short sounds in a folder."""
    folder = tmp_path / "sounds"
    folder.mkdir()
    for number in (1, 2):
        write_audio(folder / f"{number}.wav", noise(RATE // 2, number), RATE)
    return folder


def noise(count: int, seed: int = 0) -> torch.Tensor:
    return 0.1 * torch.randn(1, count, generator=torch.Generator().manual_seed(seed))


def errors(capsys: pytest.CaptureFixture[str]) -> list[str]:
    return [line for line in capsys.readouterr().err.splitlines() if line.startswith("hf-audio-vae")]


def names(folder: Path) -> set[str]:
    """Names of the files that are shown; hidden ones would be torn files or the record."""
    found = {path.name for path in folder.iterdir()} - {".hf-audio-vae.jsonl"}
    assert not any(".partial" in name for name in found)
    return found


def in_child(run: Callable[[], int], stderr: Path, stdout: int | None = None) -> int:
    """Run in a forked process; return its exit code, 99 for an exception."""
    pid = os.fork()
    if pid == 0:
        os.dup2(os.open(stderr, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), 2)
        sys.stderr = os.fdopen(2, "w")
        if stdout is not None:
            os.dup2(stdout, 1)
        sys.stdout = os.fdopen(1, "w")
        code = 99
        try:
            code = run()
        except BaseException:
            traceback.print_exc()
        sys.stderr.flush()
        os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


# Names


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
    inputs = [tmp_path / "a.wav", tmp_path / "a.original.wav"]
    endings = (".original.wav", ".reconstruction.wav", ".png")
    outputs = Outputs(inputs, tmp_path / "out", endings, overwrite=False)
    assert outputs[inputs[0]] != outputs[inputs[1]]
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


# Existing files


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


# Faults


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
    assert list(out.iterdir()) == []


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


# Sounds


def test_a_peak_beyond_full_scale_is_kept_and_said(
    model: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_audio(tmp_path / "loud.wav", noise(4000) * 50, RATE)
    assert main(["reconstruct", str(tmp_path / "loud.wav"), "--model", model, "--output_dir", str(tmp_path)]) == 0
    peak = (noise(4000) * 50).abs().max()
    assert f"loud.wav: the peak is {peak:.2f}, beyond full scale; it is not clipped" in capsys.readouterr().err
    assert torch.equal(read_audio(tmp_path / "loud.original.wav")[0], noise(4000) * 50)


@pytest.mark.parametrize(("rate", "count"), [(RATE, 1), (RATE, 7), (96000, 12), (96000, 1)])
def test_the_shortest_sounds_are_coded_or_refused_by_name(
    rate: int, count: int, model: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    soundfile.write(tmp_path / "a.wav", np.full((count, 6), 0.1), rate, subtype="PCM_24")
    code = main(["reconstruct", str(tmp_path / "a.wav"), "--model", model, "--output_dir", str(tmp_path / "out")])
    if rate > RATE and count == 1:
        assert code == 2
        assert "a.wav is shorter than one sample at the model's rate" in capsys.readouterr().err
        return
    assert code == 0
    written, written_rate = read_audio(tmp_path / "out/a.reconstruction.wav")
    assert written_rate == RATE
    assert written.shape == (1, round(count * RATE / rate))


@pytest.mark.parametrize("verb", FILE_VERBS)
def test_every_written_sound_has_the_rate_of_the_model(verb: str, model: str, tmp_path: Path) -> None:
    write_audio(tmp_path / "a.wav", noise(22050), 22050)
    main([verb, str(tmp_path / "a.wav"), "--model", model, "--output_dir", str(tmp_path / "out")])
    if verb == "encode":
        assert load_file(tmp_path / "out/a.safetensors")["mean"].shape[-1] == RATE // 20
        assert main(["decode", str(tmp_path / "out/a.safetensors"), "--output_dir", str(tmp_path / "out")]) == 0
    for path in (tmp_path / "out").glob("*.wav"):
        assert soundfile.info(path).samplerate == RATE
        assert soundfile.info(path).frames == RATE


def test_the_table_has_the_metrics_of_the_files_and_the_speed(
    model: str, sounds: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    ticks = iter(range(1000))
    monkeypatch.setattr(time, "perf_counter", lambda: 0.25 * next(ticks))
    files = [str(sounds / "1.wav"), str(sounds / "2.wav")]
    assert main(["reconstruct", *files, "--model", model, "--output_dir", str(tmp_path)]) == 0
    rows = [line.split("|")[1:-1] for line in capsys.readouterr().out.splitlines()[2:4]]
    for number, row in zip((1, 2), rows, strict=True):
        original, reconstruction = (
            read_audio(tmp_path / f"{number}.{kind}.wav")[0][None] for kind in ("original", "reconstruction")
        )
        expected = reconstruction_metrics(reconstruction, original, RATE)
        assert row[0].strip() == str(number)
        assert [float(cell) for cell in row[1:4]] == pytest.approx([v.item() for v in expected.values()], abs=2e-3)
        assert float(row[4]) == 0.5 / 0.5, "half a second of sound; one block and the end take two ticks"


def test_evaluate_prints_the_seconds_it_measured_and_the_speed(
    model: str, sounds: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    ticks = iter(range(1000))
    monkeypatch.setattr(time, "perf_counter", lambda: 0.25 * next(ticks))
    write_audio(sounds / "3.wav", noise(3 * RATE), RATE)
    assert main(["evaluate", "--model", model, "--dataset_name", str(sounds), "--max_seconds", "1"]) == 0
    printed = capsys.readouterr().out
    assert f"measured on `{sounds}`: 3 items, 2.0 s" in printed
    (speed,) = [line.split("|")[2] for line in printed.splitlines() if "times real time" in line]
    assert float(speed) == pytest.approx(2 / 0.75, abs=1e-3)


def test_decode_prints_the_length_and_the_rate(model: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_audio(tmp_path / "a.wav", noise(12_345), RATE)
    main(["encode", str(tmp_path / "a.wav"), "--model", model, "--output_dir", str(tmp_path / "out")])
    assert capsys.readouterr().out == f"{tmp_path / 'out/a.safetensors'}: 2 channels x 618 frames\n"
    main(["decode", str(tmp_path / "out/a.safetensors"), "--output_dir", str(tmp_path / "out")])
    assert capsys.readouterr().out == f"{tmp_path / 'out/a.wav'}: 1.543 s at 8000 Hz\n"


# Memory


def peak_bytes(run: Callable[[], int], tmp_path: Path) -> int:
    """Most memory of a forked process that runs this, beyond that of its start."""

    def measured() -> int:
        Path("/proc/self/clear_refs").write_text("5")  # the peak is counted from here
        before = status("VmHWM")
        code = run()
        (tmp_path / "peak").write_text(str(status("VmHWM") - before))
        return code

    assert in_child(measured, tmp_path / "err") == 0, (tmp_path / "err").read_text()
    return int((tmp_path / "peak").read_text())


def status(name: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024 * next(int(line.split()[1]) for line in lines if line.startswith(name))


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["vae", "codec"])
@pytest.mark.parametrize(("verb", "minutes", "allowed"), [("encode", 9, 10e6), ("reconstruct", 4, 40e6)])
def test_memory_does_not_grow_with_the_length(
    verb: str, minutes: int, allowed: float, kind: str, tmp_path: Path
) -> None:
    # The whole signal in memory took 230 MB a minute at 8 kHz to reconstruct, and 8 MB to encode.
    sizes = {"encoder_hidden_size": 4, "decoder_hidden_size": 8, "downsampling_ratios": (8, 20), "hidden_size": 8}
    codes = {"num_codebooks": 2, "codebook_size": 16, "codebook_dim": 4, "residual_dilations": (1,)}
    if kind == "codec":
        WaveformVQVAE(WaveformVQVAEConfig(sampling_rate=RATE, **sizes, **codes)).save_pretrained(tmp_path / "model")
    else:
        WaveformVAE(4, (8, 20), (1, 2), 4, 2, 1, RATE).save_pretrained(tmp_path / "model")
    peaks = []
    for length in (1, minutes):
        path = tmp_path / f"{length}.wav"
        write_audio(path, noise(60 * length * RATE), RATE)
        command = [verb, str(path), "--model", str(tmp_path / "model"), "--output_dir", str(tmp_path / "out")]
        peaks.append(peak_bytes(lambda command=command: main(command), tmp_path))
    assert peaks[1] - peaks[0] < allowed
