"""The verb `arithmetic`: directions of attributes, added to the latents of sounds."""

import csv
import json
from pathlib import Path

import pytest
import torch

from hf_audio_vae import STFTVAE
from hf_audio_vae.audio import read_audio, write_audio
from hf_audio_vae.cli.clips import label_reader
from hf_audio_vae.cli.main import main
from hf_audio_vae.latents.attributes import AttributeVector
from hf_audio_vae.models.fingerprint import model_fingerprint

RATE, HOP = 4000, 32


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> STFTVAE:
    folder = tmp_path_factory.mktemp("model")
    with torch.random.fork_rng():
        torch.manual_seed(0)
        made = STFTVAE((32,), (8,), (1,), 4, sampling_rate=RATE, window_length=64).eval()
    made.save_pretrained(folder)
    return STFTVAE.from_pretrained(folder).eval()


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("clips")
    noise = torch.randn(8, 1, 40 * HOP + 5, generator=torch.Generator().manual_seed(1))
    paths = {}
    for index, waveform in enumerate(noise):
        kind = ("quiet", "loud")[index % 2]
        paths[f"{kind}{index}"] = folder / f"{kind}{index}.wav"
        write_audio(paths[f"{kind}{index}"], (0.02, 0.5)[index % 2] * waveform, RATE)
    with (folder / "metadata.csv").open("w") as file:
        rows = csv.writer(file)
        rows.writerow(["file_name", "level", "kind"])
        rows.writerows([path.name, 6 * (name[:4] == "loud"), name[:4]] for name, path in paths.items())
    return paths


def latents_of(model: STFTVAE, path: Path) -> torch.Tensor:
    with torch.no_grad():
        return model.encode(read_audio(path)[0][None]).latent_dist.mode()


def decoded(model: STFTVAE, latents: torch.Tensor) -> torch.Tensor:
    with torch.no_grad():
        return model.decode(latents).sample[0, :, : 40 * HOP + 5]


def run(model: STFTVAE, *arguments: object) -> int:
    return main(["arithmetic", *map(str, arguments), "--model", str(model.config._name_or_path)])


def test_a_difference_of_clips_is_added_with_each_strength(
    model: STFTVAE, clips: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sound = clips["quiet0"]
    sources = ["--add", clips["loud1"], clips["loud3"], "--subtract", clips["quiet2"]]
    assert run(model, sound, *sources, "--strength", "0", "-1", "0.5", "--output_dir", tmp_path) == 0
    assert "quiet0 +0.5 (loud1, loud3) - quiet2" in capsys.readouterr().out
    means = {name: latents_of(model, path).mean(dim=-1)[0] for name, path in clips.items()}
    direction = (means["loud1"] + means["loud3"]) / 2 - means["quiet2"]
    for name, strength in (("+0", 0), ("-1", -1), ("+0.5", 0.5)):
        expected = decoded(model, latents_of(model, sound) + strength * direction[:, None])
        written, rate = read_audio(tmp_path / f"quiet0{name}.wav")
        assert rate == RATE
        torch.testing.assert_close(written, expected, atol=1e-5, rtol=0)


def test_labels_of_numbers_and_of_names_give_the_direction(
    model: STFTVAE, clips: dict[str, Path], tmp_path: Path
) -> None:
    folder = clips["quiet0"].parent
    data = ["--dataset_name", folder]
    level, kind = tmp_path / "level.safetensors", tmp_path / "kind.safetensors"
    assert run(model, *data, "--label_column", "level", "--save_vector", level) == 0
    assert run(model, *data, "--label_column", "kind", "--label", "loud", "--save_vector", kind) == 0
    by_level, by_kind = AttributeVector.load(level), AttributeVector.load(kind)
    assert (by_level.name, by_kind.name) == ("level", "loud")
    assert by_level.weights == model_fingerprint(model)
    torch.testing.assert_close(6 * by_level.direction, by_kind.direction)  # the labels are 0 and 6
    loud, quiet = (
        torch.stack([latents_of(model, path).mean(dim=-1)[0] for name, path in clips.items() if name[:4] == kind])
        for kind in ("loud", "quie")
    )
    torch.testing.assert_close(by_kind.direction, loud.mean(dim=0) - quiet.mean(dim=0))


def test_a_saved_direction_is_applied_without_what_others_measure(
    model: STFTVAE, clips: dict[str, Path], tmp_path: Path
) -> None:
    weights = model_fingerprint(model)
    own, other = torch.tensor([1.0, 1.0, 0.0, 0.0]), torch.tensor([0.0, 2.0, 0.0, 0.0])
    for name, direction in (("own", own), ("other", other)):
        AttributeVector(name, direction, weights).save(tmp_path / f"{name}.safetensors")
    vectors = ["--vector", tmp_path / "own.safetensors", "--orthogonal_to", tmp_path / "other.safetensors"]
    assert run(model, clips["loud1"], *vectors, "--output_dir", tmp_path / "out") == 0
    latents = latents_of(model, clips["loud1"])
    latents[:, 0] += 1
    written = read_audio(tmp_path / "out/loud1+1.wav")[0]
    torch.testing.assert_close(written, decoded(model, latents), atol=1e-5, rtol=0)


def test_a_direction_of_another_model_is_refused(
    model: STFTVAE, clips: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    path = tmp_path / "of_another.safetensors"
    AttributeVector("level", torch.ones(4), "a" * 64).save(path)
    assert run(model, clips["loud1"], "--vector", path, "--output_dir", tmp_path) == 2
    line = capsys.readouterr().err
    assert "of_another.safetensors: the attribute 'level' is of a model with other weights" in line


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["FILE"], "give one of them."),
        (["FILE", "--vector", "v", "--add", "a", "--subtract", "b"], "not --vector and --add"),
        (["FILE", "--add", "a"], "--add and --subtract belong together"),
        (["FILE", "--dataset_name", "."], "--dataset_name and --label_column belong together"),
        (["FILE", "--vector", "v", "--label", "x"], "--label has no effect"),
        (["FILE", "--vector", "v", "--audio_column", "x"], "--audio_column has no effect without --dataset_name"),
        (["--vector", "v"], "there is nothing to do"),
        (["--vector", "v", "--save_vector", "w", "--strength", "2"], "--strength has no effect without a FILE"),
        (["FILE", "--add", "FILE", "--subtract", "FILE"], "the direction of loud1 - loud1 is zero"),
        (["FILE", "--vector", "v", "--strength", "nan"], "different finite numbers"),
        (["FILE", "--vector", "v", "--strength", "1", "1.0"], "different finite numbers"),
        (["--dataset_name", "DATA", "--label_column", "kind", "--save_vector", "V"], "holds names; give one of them"),
        (["--dataset_name", "DATA", "--label_column", "none", "--save_vector", "V"], "has no column 'none'"),
        (
            ["--dataset_name", "DATA", "--label_column", "kind", "--label", "shrill", "--save_vector", "V"],
            "divides no clips of --label_column kind, which holds loud, quie",
        ),
    ],
)
def test_arguments_that_do_not_fit_are_refused(
    options: list[str],
    message: str,
    model: STFTVAE,
    clips: dict[str, Path],
    tmp_path: Path,
    capsys: pytest.CaptureFixture,
) -> None:
    values = {"FILE": clips["loud1"], "DATA": clips["loud1"].parent, "V": tmp_path / "v.safetensors"}
    given = [values.get(option, option) for option in options]
    folder = ["--output_dir", tmp_path / "out"] if "FILE" in options else []
    assert run(model, *given, *folder) == 2
    assert message in capsys.readouterr().err


def test_two_files_whose_names_become_the_same_are_refused(
    model: STFTVAE, clips: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    named = [tmp_path / name for name in ("take\n1.wav", "take-1.wav")]  # control characters are replaced by "-"
    for path in named:
        path.write_bytes(clips["loud1"].read_bytes())
    sources = ["--add", clips["loud1"], "--subtract", clips["quiet2"]]
    assert run(model, *named, *sources, "--output_dir", tmp_path / "out") == 2
    assert "two outputs would be " in capsys.readouterr().err
    assert run(model, named[0], *sources, "--strength", "1", "1.000001", "--output_dir", tmp_path / "out") == 0
    assert len(list((tmp_path / "out").iterdir())) == 2, "strengths that differ have names that differ"


def test_a_direction_replaces_none_of_its_inputs(
    model: STFTVAE, clips: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    loud, quiet = (tmp_path / f"{name}.wav" for name in ("loud", "quiet"))
    loud.write_bytes(clips["loud1"].read_bytes())
    quiet.write_bytes(clips["quiet2"].read_bytes())
    for path in (loud, quiet):
        before = path.read_bytes()
        saved = ["--save_vector", path, "--overwrite"]
        assert run(model, "--add", loud, "--subtract", quiet, *saved) == 2
        assert "is an input and would be replaced" in capsys.readouterr().err
        assert path.read_bytes() == before


@pytest.mark.parametrize(
    ("labels", "code", "message"),
    [
        (["1", "", "3", ""], 0, "2 items have no label and are left out"),
        (["", "", "", ""], 2, "--label_column label has no labels"),
        (["1", "2", "inf", "4"], 2, "has infinite numbers"),
    ],
)
def test_labels_that_are_missing_are_counted_and_infinite_ones_refused(
    labels: list[str],
    code: int,
    message: str,
    model: STFTVAE,
    clips: dict[str, Path],
    tmp_path: Path,
    capsys: pytest.CaptureFixture,
) -> None:
    data = tmp_path / "data"
    data.mkdir()
    lines = ["file_name,label"]
    for (name, path), label in zip(clips.items(), labels, strict=False):
        (data / f"{name}.wav").write_bytes(path.read_bytes())
        lines.append(f"{name}.wav,{label}")
    (data / "metadata.csv").write_text("\n".join(lines) + "\n")
    options = ["--dataset_name", data, "--label_column", "label", "--save_vector", tmp_path / "v.safetensors"]
    assert run(model, *options) == code
    assert message in capsys.readouterr().err


def test_empty_bytes_are_a_missing_label() -> None:
    label_of = label_reader([], "kind")
    assert [label_of({"kind": value}) for value in (b"", "", float("nan"), b"0", 0)] == [None, None, None, b"0", 0]


def test_an_empty_label_is_a_missing_one(
    model: STFTVAE, clips: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    directions = []
    for folder, labels in (("all", ["drum", "voice", "", "drum"]), ("labelled", ["drum", "voice", None, "drum"])):
        data = tmp_path / folder
        data.mkdir()
        rows = []
        for (name, path), label in zip(clips.items(), labels, strict=False):
            (data / f"{name}.wav").write_bytes(path.read_bytes())
            rows.append(json.dumps({"file_name": f"{name}.wav", "kind": label}))
        (data / "metadata.jsonl").write_text("\n".join(rows))
        vector = tmp_path / f"{folder}.safetensors"
        options = ["--label_column", "kind", "--label", "drum", "--save_vector", vector]
        assert run(model, "--dataset_name", data, *options) == 0
        assert "1 items have no kind and are left out" in capsys.readouterr().err
        directions.append(AttributeVector.load(vector).direction)
    assert torch.equal(*directions)
