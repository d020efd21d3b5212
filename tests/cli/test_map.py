"""The verb `map`: files, data sets, classes, families, and what is refused."""

import base64
import io
import json
import sys
from pathlib import Path
from typing import Any

import pytest
import soundfile
import torch

from hf_audio_vae import HierarchicalVQVAE, HierarchicalVQVAEConfig, WaveformVAE, WaveformVQVAE
from hf_audio_vae.audio import read_audio, write_audio
from hf_audio_vae.cli import map as verb
from hf_audio_vae.cli.main import main
from hf_audio_vae.latents import clip_vector, nearest_neighbours, pca_projection, standardized
from tests.cli.files import RATE, errors, names, noise
from tests.cli.test_token_vae import CODEC
from tests.evaluation.sound_maps.test_page import Page
from tests.models.hierarchical_vqvae.tiny import CONFIG as LEVELS
from tests.models.peers.tiny import TINY, buildable

HELD_OUT = Path(__file__).parents[2] / "data/held_out"
FILES = {"map.png", "map.json", "map.html"}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eight sounds of two levels, in two folders, with a table beside them."""
    root = tmp_path_factory.mktemp("sounds") / "data"
    for number in range(8):
        folder = root / ("loud", "quiet")[number % 2]
        folder.mkdir(parents=True, exist_ok=True)
        sound = (4.0, 0.1)[number % 2] * noise(RATE // 2 + 100 * number, number)
        write_audio(folder / f"{number}.wav", sound, RATE)
    return root


def listed(data: Path, tmp_path: Path) -> Path:
    """The same sounds as a folder with `metadata.csv`."""
    folder = tmp_path / "listed"
    folder.mkdir()
    for name in ("loud", "quiet"):
        (folder / name).symlink_to(data / name)
    numbers = {path.relative_to(data): int(path.stem) for path in sorted(data.rglob("*.wav"))}
    rows = [f"{path},{number // 4},{20 - 5 * number}" for path, number in numbers.items()]
    (folder / "metadata.csv").write_text("\n".join(["file_name,half,pitch", *rows]))
    return folder


def result(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "map.json").read_text())


def run(*arguments: object) -> int:
    return main(["map", *map(str, arguments)])


@torch.no_grad()
def vectors_of(model: str, paths: list[Path]) -> torch.Tensor:
    autoencoder = WaveformVAE.from_pretrained(model)
    return torch.stack([clip_vector(autoencoder.encode(read_audio(p)[0][None]).latent_dist.mode()[0]) for p in paths])


def test_the_map_is_that_of_the_vectors_of_the_clips(
    model: str, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(data, "--model", model, "--neighbours", 3, "--output_dir", tmp_path / "out") == 0
    assert names(tmp_path / "out") == FILES
    written = result(tmp_path / "out")
    paths = sorted(data.rglob("*.wav"))
    assert [point["path"] for point in written["points"]] == list(map(str, paths))
    scaled = standardized(vectors_of(model, paths))
    # The verb encodes with fused layers, which agree within 1e-5.
    torch.testing.assert_close(
        torch.tensor([point["coordinates"] for point in written["points"]]).double(),
        pca_projection(scaled).coordinates,
        atol=1e-3,
        rtol=1e-3,
    )
    assert written["shares"] == pytest.approx(pca_projection(scaled).shares, abs=1e-4)
    expected = nearest_neighbours(scaled, 3)
    for point, near, distances in zip(written["points"], expected.indices, expected.distances, strict=True):
        assert [other["index"] for other in point["neighbours"]] == near.tolist()
        assert [other["distance"] for other in point["neighbours"]] == pytest.approx(distances.tolist(), rel=1e-3)
    assert [point["label"] for point in written["points"]] == ["loud"] * 4 + ["quiet"] * 4
    assert [point["seconds"] for point in written["points"]] == pytest.approx(
        [0.5 + 100 * int(path.stem) / RATE for path in paths]
    )
    assert written["nearest_of_same_class"] == {"share": 1.0, "by_chance": pytest.approx(3 / 7)}
    printed = capsys.readouterr().out
    assert "the nearest sound has the same class for 100.0% of the sounds, by chance for 42.9%" in printed
    first, second = (f"{share:.1%} of the variance" for share in written["shares"])
    assert f"8 sounds; axis 1, {first}; axis 2, {second}" in printed
    size = (tmp_path / "out/map.html").stat().st_size / 2**20
    assert f"map.html: {size:.1f} MiB, with sound" in printed


def test_whole_numbers_are_the_same_classes_in_columns_with_and_without_gaps(
    model: str, data: Path, tmp_path: Path
) -> None:
    folders = []
    for name, takes in (("whole", [1, 2]), ("with gaps", [1.0, None]), ("texts", ["1", ""])):
        folder = tmp_path / name
        folder.mkdir()
        for number, path in enumerate(sorted(data.rglob("*.wav"))[:2]):
            (folder / f"{number}.wav").write_bytes(path.read_bytes())
        rows = [json.dumps({"file_name": f"{number}.wav", "take": take}) for number, take in enumerate(takes)]
        (folder / "metadata.jsonl").write_text("\n".join(rows))
        folders.append(folder)
    assert run(*folders, "--label_column", "take", "--model", model, "--output_dir", tmp_path / "out") == 0
    assert [point["label"] for point in result(tmp_path / "out")["points"]] == ["1", "2", "1", None, "1", None]


def test_clips_without_a_class_are_counted_apart(
    model: str, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = listed(data, tmp_path)
    table = (folder / "metadata.csv").read_text().replace("loud/0.wav,0,", "loud/0.wav,,")
    (folder / "metadata.csv").write_text(table)
    assert run(folder, "--label_column", "half", "--model", model, "--output_dir", tmp_path / "out") == 0
    printed = capsys.readouterr().out
    assert "2 classes, 1 sound without a class; the nearest sound has the same class for" in printed
    assert "of the sounds that have one, by chance for" in printed


def test_the_page_has_the_same_points_and_the_start_of_each_sound(model: str, data: Path, tmp_path: Path) -> None:
    assert run(data, "--model", model, "--preview_seconds", 0.25, "--output_dir", tmp_path) == 0
    page = Page((tmp_path / "map.html").read_text())
    points = page.json("map-data")["points"]
    assert [point["coordinates"] for point in points] == [p["coordinates"] for p in result(tmp_path)["points"]]
    sounds = [io.BytesIO(base64.b64decode(sound)) for sound in page.json("map-sounds")]
    assert [soundfile.info(sound).duration for sound in sounds] == [0.25] * 8
    level = [float((soundfile.read(sound, dtype="float32")[0] ** 2).mean()) for sound in map(_rewound, sounds)]
    assert min(level[:4]) > 100 * max(level[4:]), "each point has its own sound"
    assert run(data, "--model", model, "--preview_seconds", 0, "--overwrite", "--output_dir", tmp_path) == 0
    assert Page((tmp_path / "map.html").read_text()).json("map-sounds") == []


def _rewound(file: io.BytesIO) -> io.BytesIO:
    file.seek(0)
    return file


def test_files_folders_and_a_data_set_are_one_map(model: str, data: Path, tmp_path: Path) -> None:
    files = sorted((data / "loud").iterdir())[:2]
    options = ["--dataset_name", HELD_OUT, "--max_seconds", 0.2, "--model", model, "--output_dir", tmp_path]
    assert run(files[0], data / "quiet", files[1], *options) == 0
    points = result(tmp_path)["points"]
    assert [point["name"] for point in points[:6]] == ["0", "2", "1", "3", "5", "7"]
    assert [point["label"] for point in points] == ["loud"] * 2 + ["quiet"] * 4 + ["held_out"] * 12
    assert max(point["seconds"] for point in points) == 0.2


def test_classes_are_the_values_of_a_column(model: str, data: Path, tmp_path: Path) -> None:
    options = ["--model", model, "--output_dir", tmp_path / "out", "--overwrite"]
    table = listed(data, tmp_path)
    assert run("--dataset_name", table, "--label_column", "half", *options) == 0
    assert [point["label"] for point in result(tmp_path / "out")["points"]] == ["0", "0", "1", "1"] * 2
    assert run(table, "--label_column", "pitch", *options) == 0
    classes = Page((tmp_path / "out/map.html").read_text()).json("map-data")["classes"]
    assert [one["name"] for one in classes] == ["-15", "-10", "-5", "0", "5", "10", "15", "20"]
    assert run(data / "loud", *options) == 0
    assert {point["label"] for point in result(tmp_path / "out")["points"]} == {None}, "one folder is no class"


def test_options_of_the_data_choose_the_clips(model: str, data: Path, tmp_path: Path) -> None:
    options = ["--model", model, "--output_dir", tmp_path, "--overwrite"]
    assert run("--dataset_name", data, "--data_files", "loud/*.wav", *options) == 0
    assert [point["name"] for point in result(tmp_path)["points"]] == ["0", "2", "4", "6"]
    assert run(data, "--dataset_split", "all", "--audio_column", "audio", *options) == 0
    assert len(result(tmp_path)["points"]) == 8


def test_noise_is_apart_from_low_tones_and_from_music(tmp_path: Path) -> None:
    folder, rate = tmp_path / "synthetic", 24000
    time = torch.arange(2 * rate) / rate
    for kind in ("noise", "tone", "music"):
        (folder / kind).mkdir(parents=True)
    for number in range(4):
        write_audio(folder / f"noise/{number}.wav", noise(len(time), number), rate)
        tone = 0.3 * torch.sin(2 * torch.pi * (80 + 20 * number) * time)
        write_audio(folder / f"tone/{number}.wav", tone[None], rate)
    for path in HELD_OUT.glob("music_*"):
        (folder / "music" / path.name).symlink_to(path)
    assert run(folder, "--max_seconds", 2, "--preview_seconds", 0, "--output_dir", tmp_path / "out") == 0
    written = result(tmp_path / "out")
    assert {point["label"] for point in written["points"]} == {"noise", "tone", "music"}
    groups = {kind: [point for point in written["points"] if point["label"] == kind] for kind in ("noise", "tone")}
    music = torch.tensor([point["coordinates"] for point in written["points"] if point["label"] == "music"])
    for kind, points in groups.items():
        assert {Path(point["neighbours"][0]["path"]).parent.name for point in points} == {kind}
    noises, tones = (torch.tensor([point["coordinates"] for point in points]) for points in groups.values())
    centre = noises.mean(dim=0)
    radius = (noises - centre).norm(dim=1).max()
    assert (music - centre).norm(dim=1).min() > 3 * radius
    assert (tones - centre).norm(dim=1).min() > 3 * radius


@pytest.mark.parametrize("family", ["codec", "levels", *buildable(["MimiModel", "VibeVoiceAcousticTokenizerModel"])])
def test_every_family_is_mapped(family: str, data: Path, tmp_path: Path) -> None:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        models = {
            "codec": lambda: WaveformVQVAE(CODEC),
            "levels": lambda: HierarchicalVQVAE(HierarchicalVQVAEConfig(**LEVELS)),
        }
        made = models[family]() if family in models else TINY[family].new()
    made.save_pretrained(tmp_path / "model")
    assert run(data, "--model", tmp_path / "model", "--output_dir", tmp_path / "out") == 0
    points = torch.tensor([point["coordinates"] for point in result(tmp_path / "out")["points"]])
    assert points.shape == (8, 2) and float(points[:, 0].std()) > 0


def test_a_second_call_gives_the_same_files_and_asks_before_it_replaces(
    model: str, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = [data, "--model", model, "--output_dir", tmp_path]
    assert run(*options) == 0
    before = {name: (tmp_path / name).read_bytes() for name in FILES}
    assert run(*options) == 2
    assert "map.png exists; name another --output_dir, or give --overwrite." in errors(capsys)[0]
    assert run(*options, "--overwrite") == 0
    assert {name: (tmp_path / name).read_bytes() for name in ("map.json", "map.html")} == {
        name: before[name] for name in ("map.json", "map.html")
    }


def test_a_file_whose_name_is_code_is_harmless(model: str, tmp_path: Path) -> None:
    # A name cannot hold a slash; the folders that it makes give the rest.
    name = "</script><img onerror=alert(1) src=x>.wav"
    path = tmp_path / "data" / name
    path.parent.mkdir(parents=True)
    write_audio(path, noise(RATE), RATE)
    write_audio(tmp_path / "data/<img onerror=alert(2) src=x>.wav", noise(RATE, 1), RATE)
    assert run(tmp_path / "data", "--model", model, "--output_dir", tmp_path / "out") == 0
    page = Page((tmp_path / "out/map.html").read_text())
    assert {point["name"] for point in page.json("map-data")["points"]} == {
        "script><img onerror=alert(1) src=x>",
        "<img onerror=alert(2) src=x>",
    }
    assert "img" not in {tag for tag, _ in page.elements}
    assert {one["name"] for one in page.json("map-data")["classes"]} == {"data", "<"}


@pytest.mark.slow
def test_umap_is_reproducible(model: str, data: Path, tmp_path: Path) -> None:
    pytest.importorskip("umap")
    options = [data, "--model", model, "--projection", "umap", "--preview_seconds", 0]
    for name in ("first", "second"):
        assert run(*options, "--output_dir", tmp_path / name) == 0
    first, second = (result(tmp_path / name) for name in ("first", "second"))
    assert first == second
    assert first["projection"] == "umap" and first["axes"] == ["UMAP 1", "UMAP 2"] and first["shares"] is None


def test_without_umap_the_extra_is_named_before_anything_is_encoded(
    model: str, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "umap", None)
    assert run(data, "--model", "/nowhere", "--projection", "umap", "--output_dir", tmp_path) == 2
    assert errors(capsys) == ["hf-audio-vae map: needs umap; pip install 'hf-audio-vae[umap]'"]


def test_items_that_cannot_be_read_are_named_and_left_out(
    model: str, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    broken = tmp_path / "broken.wav"
    broken.write_bytes(b"RIFF")
    assert run(broken, data / "loud", "--model", model, "--output_dir", tmp_path / "out") == 1
    assert "1 of 5 items cannot be used and are not measured" in capsys.readouterr().err
    assert [point["name"] for point in result(tmp_path / "out")["points"]] == ["0", "2", "4", "6"]
    assert run(broken, "--model", model, "--output_dir", tmp_path / "none") == 2
    (line,) = errors(capsys)
    assert "holds no items that can be read" in line and "broken.wav" in line


def test_a_page_that_would_open_slowly_is_refused_with_a_remedy(
    model: str, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(verb, "MAX_PAGE_BYTES", 12000)
    options = [data, "--model", model, "--output_dir", tmp_path]
    assert run(*options) == 2
    (line,) = errors(capsys)
    assert "sounds of 3 s take more than 0 MiB of the page; give a shorter --preview_seconds, 0 for" in line
    assert not names(tmp_path), "nothing is written"
    assert run(*options, "--preview_seconds", 0.01) == 0
    assert (tmp_path / "map.html").exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ([], "there is nothing to map; name sounds or folders, or --dataset_name."),
        (["/nowhere"], "there is no sound or folder /nowhere"),
        (["FILE"], "0.wav is the only sound; a map needs two or more."),
        (["FILE", "--label_column", "half"], "--label_column has no effect without a folder or --dataset_name"),
        (["FILE", "--audio_column", "audio"], "--audio_column has no effect without a folder or --dataset_name"),
        (["FILE", "DATA", "--label_column", "half"], "--label_column has no value for the file"),
        (["DATA", "--label_column", "half"], "the data has no column 'half' for --label_column; it has audio, label."),
        (["DATA", "--dataset_name", "DATA", "--data_files", "*"], "--data_files would be that of all 2 data sets"),
        (["DATA", "--dataset_split", "test"], "has no split 'test'"),
        (["DATA", "--neighbours", "0"], "--neighbours is 0; give 1 or more."),
        (["DATA", "--preview_seconds", "-1"], "--preview_seconds is -1.0; give 0 for none"),
        (["DATA", "--preview_seconds", "nan"], "--preview_seconds is nan"),
        (["DATA", "--max_seconds", "0"], "--max_seconds is 0.0"),
        (["DATA", "--autoencoder", "x"], "--autoencoder names the codec of a TokenVAE"),
        (["DATA", "--output_dir", "DATA"], "is in the data"),
    ],
)
def test_what_cannot_be_mapped_is_one_line(
    options: list[str],
    message: str,
    model: str,
    data: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    values = {"DATA": str(data), "FILE": str(data / "loud/0.wav")}
    filled = [values.get(option, option) for option in options]
    if "--output_dir" not in filled:
        filled += ["--output_dir", str(tmp_path / "out")]
    assert run(*filled, "--model", model) == 2
    (line,) = errors(capsys)
    assert message in line
    assert not (tmp_path / "out/map.html").exists()
