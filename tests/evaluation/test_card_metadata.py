from pathlib import Path

import pytest
import yaml
from huggingface_hub import ModelCard, parse_eval_result_entries

from hf_audio_vae.evaluation.card_metadata import (
    Material,
    Measured,
    Origin,
    card_data,
    eval_results_file,
    hub_id,
    origin_of,
    without_folders,
)

COMMIT = "0123456789" * 4
VALUES = {"si_sdr_db": 1.5, "kl": float("nan"), "step": 7.0}
LABELS = {"si_sdr_db": "SI-SDR", "kl": "KL"}


def test_figures_of_a_data_set_of_the_hub_are_written_as_the_hub_reads_them() -> None:
    material = Material("someone/sounds", "someone/sounds", COMMIT, "clean", "test")
    name, content = eval_results_file(Measured(material, VALUES, LABELS))
    assert name == "someone--sounds.yaml"
    (entry,) = parse_eval_result_entries(yaml.safe_load(content))
    assert (entry.dataset_id, entry.task_id, entry.value) == ("someone/sounds", "si_sdr_db", 1.5)
    assert entry.dataset_revision == COMMIT
    assert entry.notes == "SI-SDR, split test, config clean"


def test_a_branch_is_no_revision_of_a_figure() -> None:
    material = Material("someone/sounds", "someone/sounds", "main")
    _, content = eval_results_file(Measured(material, VALUES, LABELS))
    (entry,) = parse_eval_result_entries(yaml.safe_load(content))
    assert entry.dataset_revision is None


def test_figures_of_local_data_are_in_the_card_alone() -> None:
    measured = Measured(Material("data/held_out"), VALUES, LABELS)
    assert eval_results_file(measured) is None
    data = card_data("mine", library="x", task="audio-to-audio", tags=[], origin=Origin(), measured=measured)
    assert [(result.metric_type, result.dataset_name) for result in data.eval_results] == [
        ("si_sdr_db", "data/held_out")
    ]


def test_a_name_of_the_hub_is_no_path_that_exists(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert hub_id("data/train") == "data/train"
    (tmp_path / "data/train").mkdir(parents=True)
    assert [
        hub_id(name) for name in ("data/train", str(tmp_path), "audiofolder", "a/b/c", "../x", "a//b", "a/b ")
    ] == ([None] * 7)


@pytest.mark.parametrize(
    ("name", "shown"),
    [("/a/b/", "b"), ("~/b", "b"), ("../b", "b"), ("a/b", "a/b"), ("owner/data", "owner/data"), ("/", "/"), ("", "")],
)
def test_of_a_path_elsewhere_its_last_part_is_shown(name: str, shown: str) -> None:
    assert without_folders(name) == shown


def test_what_a_card_says_of_its_origin_is_read_again() -> None:
    for origin in (Origin(), Origin("mit", ("a/b", "c/d"), "e/f")):
        data = card_data("mine", library="x", task="audio-to-audio", tags=["audio"], origin=origin)
        assert origin_of(ModelCard(f"---\n{data.to_yaml()}\n---\n")) == origin
    assert origin_of(ModelCard("---\ndatasets: a/b\n---\n")).datasets == ("a/b",)
