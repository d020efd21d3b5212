import json

import pytest

from hf_audio_vae.comparison.measured import figures_of_results
from hf_audio_vae.comparison.results import Results
from hf_audio_vae.comparison.run import load_items, prepare
from tests.comparison.test_run import DIRECTIONS, RATE, mean_distance, measurement

SETTINGS = {
    "dataset": "0123456789abcdef",
    "dataset_config_name": None,
    "dataset_split": "test",
    "max_seconds": 30.0,
    "sampling_rate": RATE,
    "audio_channels": 1,
}


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> dict:
    """An evaluation of a model and of Opus, as it is written to `results.json`."""
    folder, measured = tmp_path_factory.mktemp("results"), measurement()
    prepare(folder, {})
    skipped = measured.run(folder)
    found = Results(load_items(folder), measured.systems, DIRECTIONS, {"FAD": mean_distance})
    systems = {system.name: system.identity for system in measured.systems}
    settings = SETTINGS | {"systems": systems}
    return json.loads(
        json.dumps({"settings": settings, "skipped": skipped, "dataset_name": "sounds", **found.numbers()})
    )


@pytest.fixture
def fingerprint(results: dict) -> str:
    return results["settings"]["systems"]["vae"]


def test_the_figures_are_those_of_the_model(results: dict, fingerprint: str) -> None:
    figures = figures_of_results(results, fingerprint)
    finite = figures.measured.finite()
    mean = results["means"]["vae"]["si_sdr_db"]
    assert finite["si_sdr_db"] == mean["mean"]
    assert figures.intervals["si_sdr_db"] == (mean["low"], mean["high"])
    assert finite["FAD powers"] == results["distances"]["vae"]["FAD powers"]
    assert figures.measured.values["effective_rank"] == results["properties"]["vae"]["effective_rank"]
    assert "parameters" not in finite
    assert figures.systems["opus@16"]["si_sdr_db"] == results["means"]["opus@16"]["si_sdr_db"]["mean"]


def test_the_description_says_how_much_was_measured(results: dict, fingerprint: str) -> None:
    seconds = sum(item["seconds"] for item in results["items"])
    assert figures_of_results(results, fingerprint).description == (
        f"`sounds`: 6 items (1 more cannot be read), {seconds:.1f} s, of each item at most the first 30 s, at 16000 "
        "Hz with 1 channel"
    )


def test_a_data_set_of_the_hub_is_named_by_its_id(results: dict, fingerprint: str) -> None:
    local = figures_of_results(results, fingerprint).measured.material
    assert (local.name, local.dataset_id, local.split) == ("sounds", None, "test")
    settings = results["settings"] | {"dataset": ["someone/sounds", "main"]}
    remote = figures_of_results(results | {"settings": settings}, fingerprint).measured.material
    assert (remote.name, remote.dataset_id, remote.revision) == ("someone/sounds", "someone/sounds", "main")


def test_figures_of_another_model_are_refused(results: dict, fingerprint: str) -> None:
    with pytest.raises(ValueError, match="figures of vae, opus@16, but none of a model with these weights"):
        figures_of_results(results, fingerprint[::-1])


@pytest.mark.parametrize("content", [{}, [], {"settings": {"systems": {"vae": "x"}}}, {"settings": None}, "text"])
def test_another_file_is_refused(content: object) -> None:
    with pytest.raises(ValueError, match=r"no results\.json"):
        figures_of_results(content, "x")
