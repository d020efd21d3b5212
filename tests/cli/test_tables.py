"""Tables for readers and for other programs: CSV and JSON alone on stdout, with all digits."""

import csv
import io
import json
from pathlib import Path

import pytest

from hf_audio_vae.cli.main import main
from hf_audio_vae.cli.tables import print_json, print_table

DATA = ["--dataset_name", "data/held_out", "--max_seconds", "1"]


def printed(capsys: pytest.CaptureFixture[str], *command: str) -> str:
    assert main(list(command)) == 0
    return capsys.readouterr().out


@pytest.mark.parametrize("verb", ["reconstruct", "stream"])
def test_files_have_the_same_rows_in_all_formats(
    verb: str, model: str, sounds: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = [verb, str(sounds), "--model", model, "--output_dir", str(tmp_path / "out")]
    markdown = printed(capsys, *options)
    rows = list(csv.DictReader(io.StringIO(printed(capsys, *options, "--format", "csv"))))
    objects = json.loads(printed(capsys, *options, "--format", "json"))
    assert [row["file"] for row in rows] == [entry["file"] for entry in objects] == ["1", "2"]
    exact = "mel_distance" if verb == "reconstruct" else "latency_ms"  # the others are times
    for row, entry in zip(rows, objects, strict=True):
        assert float(row[exact]) == entry[exact]
        assert f"{entry[exact]:.3f}" in markdown


def test_doctor_and_inspect_print_for_programs(model: str, capsys: pytest.CaptureFixture[str]) -> None:
    findings = json.loads(printed(capsys, "doctor", "stft-vae-24khz", "--format", "json"))
    assert {"level": "ok", "subject": "weights"}.items() <= findings[0].items()
    inspected = json.loads(printed(capsys, "inspect", model, *DATA, "--format", "json"))
    rows = list(csv.DictReader(io.StringIO(printed(capsys, "inspect", model, *DATA, "--format", "csv"))))
    assert {row["metric"]: float(row["value"]) for row in rows} == pytest.approx(inspected["summary"])


def test_evaluate_has_each_class_and_each_item(model: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["evaluate", "--model", model, "--model", "opus@16", *DATA, "--label_column", "kind", "--embeddings"]
    rows = list(csv.DictReader(io.StringIO(printed(capsys, *command, "--format", "csv"))))
    assert len(rows) == 2 * 12
    out = tmp_path / "out"
    table = printed(capsys, *command, "--output_dir", str(out))
    results = json.loads((out / "results.json").read_text())
    assert sorted(results["classes"]) == ["effect", "music", "note", "speech"]
    assert list(csv.DictReader((out / "items.csv").open())) == rows
    of_speech = [float(row["mel_distance"]) for row in rows if (row["class"], row["system"]) == ("speech", "opus@16")]
    mean = results["classes"]["speech"]["means"]["opus@16"]["mel_distance"]
    assert len(of_speech) == results["classes"]["speech"]["items"] == 3
    assert mean == pytest.approx(sum(of_speech) / 3)
    (line,) = [line for line in table.splitlines() if line.startswith("| speech |") and " opus@16 |" in line]
    assert f"{mean:.3f}" in line
    with_other_classes = [*command[:-2], "source", "--embeddings", "--output_dir", str(out)]
    assert main(with_other_classes) == 2
    assert "label_column" in capsys.readouterr().err


def test_json_has_no_nan(capsys: pytest.CaptureFixture[str]) -> None:
    print_json({"value": [float("nan"), 1.5, float("inf")]})
    assert json.loads(capsys.readouterr().out) == {"value": [None, 1.5, None]}


def test_names_with_commas_and_bars_stay_in_their_columns(capsys: pytest.CaptureFixture[str]) -> None:
    print_table({"file": "file", "value": "value (↓)"}, [["a,b|c", 0.1 + 0.2]], "csv")
    assert list(csv.reader(io.StringIO(capsys.readouterr().out))) == [["file", "value"], ["a,b|c", str(0.1 + 0.2)]]
