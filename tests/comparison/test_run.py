"""Items that are measured one by one, killed and continued."""

import json
import os
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from hf_audio_vae import WaveformVAE
from hf_audio_vae.comparison.items import Item
from hf_audio_vae.comparison.results import Results
from hf_audio_vae.comparison.run import Measurement, load_items, measure_in_parts, prepare
from hf_audio_vae.comparison.systems import AnchorSystem, ModelSystem
from hf_audio_vae.evaluation.latents import LatentStatistics
from hf_audio_vae.evaluation.metrics import reconstruction_metrics

RATE, ITEMS = 16000, 7
DIRECTIONS = {"si_sdr_db": True, "mel_distance": False}


class Powers:
    name, sampling_rate = "powers", RATE

    def __call__(self, waveform: Tensor) -> Tensor:
        return waveform.mean(dim=0)[: 100 * (waveform.shape[1] // 100)].reshape(-1, 100)[:, :2]


def clip(index: int) -> Tensor:
    generator = torch.Generator().manual_seed(index)
    return torch.randn(1, 4000 + 100 * index, generator=generator) * 0.1


def clips(
    wanted: Callable[[int], bool], skipped: dict[str, str], *, dies_at: int | None = None
) -> Iterator[tuple[int, str, object, Tensor]]:
    for index in filter(wanted, range(ITEMS)):
        if index == dies_at:
            os._exit(9)
        if index == 2:
            skipped["item 2"] = "cannot be read"
        else:
            yield index, f"item {index}", f"class {index % 2}" if index else None, clip(index)


def metrics(estimate: Tensor, target: Tensor, sampling_rate: int) -> dict[str, float]:
    values = reconstruction_metrics(estimate[None], target[None], sampling_rate)
    return {name: value.item() for name, value in values.items() if name in DIRECTIONS}


def measurement(**options) -> Measurement:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = WaveformVAE(4, (3, 5), (1, 2), 4, 2, 1, RATE).eval()
    systems = [ModelSystem("vae", model), AnchorSystem("opus@16")]
    return Measurement(systems, [Powers()], metrics, RATE, 1, partial(clips, **options))


def results(folder: Path) -> str:
    measured = Results(load_items(folder), measurement().systems, DIRECTIONS, {"distance": mean_distance})
    return json.dumps(measured.numbers())


def mean_distance(other: Tensor, reference: Tensor) -> float:
    return float((reference.mean(dim=0) - other.mean(dim=0)).norm())


def test_a_file_that_a_killed_writer_left_is_no_item(tmp_path: Path) -> None:
    folder = prepared(tmp_path)
    measurement().run(folder)
    whole = results(folder)
    first = folder / "items/000000.safetensors"
    (folder / "items/.0123456789abcdef.partial.safetensors").write_bytes(first.read_bytes())
    (folder / "items/.fedcba9876543210.partial.safetensors").write_bytes(first.read_bytes()[:100])
    assert results(folder) == whole


def test_the_name_of_a_model_does_not_change_its_distances(tmp_path: Path) -> None:
    distances = []
    for name in ("vae", "reference"):
        renamed = measurement()
        renamed.systems[0].name = name
        renamed.run(prepared(tmp_path / name))
        found = Results(load_items(tmp_path / name), renamed.systems, DIRECTIONS, {"distance": mean_distance})
        distances.append((found.distances[name], found.distances["opus@16"]))
    assert distances[0] == distances[1]


def test_an_item_survives_its_file(tmp_path: Path) -> None:
    measurement().run(prepared(tmp_path))
    item = load_items(tmp_path)[0]
    path = tmp_path / "copy"
    item.save(path)
    again = Item.load(path)
    assert (again.name, again.seconds, again.figures) == ("item 0", 0.25, item.figures)
    torch.testing.assert_close(again.embeddings, item.embeddings, rtol=0, atol=0)
    torch.testing.assert_close(again.health, item.health, rtol=0, atol=0)


def prepared(folder: Path) -> Path:
    prepare(folder, {"setting": 1})
    return folder


@pytest.mark.slow
def test_a_killed_run_continues_to_the_same_results(tmp_path: Path) -> None:
    skipped = measurement().run(prepared(tmp_path / "whole"))
    assert skipped == {"item 2": "cannot be read"}
    expected = results(tmp_path / "whole")
    folder = prepared(tmp_path / "killed")
    with pytest.raises(ValueError, match="a process was killed.*`--num_processes`"):
        measure_in_parts(partial(measurement, dies_at=4), folder, 2)
    assert 0 < len(load_items(folder)) < ITEMS - 1
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*.safetensors")}
    assert measure_in_parts(measurement, folder, 2) == skipped
    assert results(folder) == expected
    assert all(path.stat().st_mtime_ns == time for path, time in before.items())  # nothing is measured twice


def test_a_folder_of_other_settings_is_refused(tmp_path: Path) -> None:
    assert prepare(tmp_path, {"models": ["a"], "rate": (1, 2)}) == 0
    assert prepare(tmp_path, {"models": ["a"], "rate": (1, 2)}) == 0
    with pytest.raises(ValueError, match=r"other settings \(models\); choose another `--output_dir`"):
        prepare(tmp_path, {"models": ["b"], "rate": (1, 2)})


def test_figures_are_those_of_the_whole_set(tmp_path: Path) -> None:
    measuring = measurement()
    measuring.run(prepared(tmp_path))
    measured = Results(load_items(tmp_path), measuring.systems, DIRECTIONS, {"distance": mean_distance})
    vae, opus = (system.code for system in measuring.systems)
    waveforms = [clip(index) for index in range(ITEMS) if index != 2]
    si_sdr = [metrics(vae(x, RATE).waveform, x, RATE)["si_sdr_db"] for x in waveforms]
    assert measured.means["vae"]["si_sdr_db"].mean == pytest.approx(sum(si_sdr) / len(si_sdr))
    difference = [
        a - metrics(opus(x, RATE).waveform, x, RATE)["si_sdr_db"] for a, x in zip(si_sdr, waveforms, strict=True)
    ]
    found = measured.differences["si_sdr_db"]["vae", "opus@16"]
    assert found.mean == pytest.approx(sum(difference) / len(difference))
    assert measured.findings()["si_sdr_db"] == "opus@16 > vae"
    statistics = LatentStatistics(measuring.systems[0].model.frame_rate)
    for x in waveforms:
        statistics.add(measuring.systems[0].model.encode(x[None]).latent_dist)
    assert measured.rate("vae") == pytest.approx(statistics.summary()["bits_per_second"])
    bits = sum(opus(x, RATE).figures["file_bits_per_second"] * x.shape[-1] / RATE for x in waveforms)
    assert measured.rate("opus@16") == pytest.approx(bits / measured.seconds)
    reference, decoded = (
        torch.cat([Powers()(x) for x in sounds]) for sounds in (waveforms, [vae(x, RATE).waveform for x in waveforms])
    )
    assert measured.distances["vae"]["distance powers"] == pytest.approx(mean_distance(reference, decoded))
    assert measured.seconds == pytest.approx(sum(x.shape[-1] for x in waveforms) / RATE)


def test_a_metric_that_some_items_lack_is_averaged_over_the_others() -> None:
    rate = {"file_bits_per_second": 8.0}
    figures = [{"a": {"m": 1.0 + i, **rate}, "b": {"m": 0.0, **rate}} for i in range(3)]
    items = [Item(str(i), 1.0, values) for i, values in enumerate(figures)]
    del items[0].figures["a"]["m"]
    systems = [AnchorSystem("opus@16"), AnchorSystem("opus@32")]
    systems[0].name, systems[1].name = "a", "b"
    measured = Results(items, systems, {"m": False}, {})
    assert measured.means["a"]["m"].mean == 2.5
    assert measured.differences["m"]["a", "b"].mean == 2.5
    assert measured.columns()["a"] == {"m": 2.5, "file_bits_per_second": 8.0}


@pytest.mark.parametrize("fault", ["cut", "figure", "embedding"])
def test_a_damaged_item_is_named_and_measured_again(
    fault: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = prepared(tmp_path)
    measurement().run(folder)
    whole, path = results(folder), folder / "items/000001.safetensors"
    content = bytearray(path.read_bytes())
    if fault == "cut":
        del content[len(content) // 2 :]
    else:
        place = content.index(b'si_sdr_db\\": ') + 13 if fault == "figure" else len(content) - 1
        content[place] ^= 1
    path.write_bytes(content)
    prepared(tmp_path)
    assert f"{path} is damaged" in caplog.text
    measurement().run(folder)
    assert results(folder) == whole


def test_items_of_earlier_versions_have_no_checksum_and_are_kept(tmp_path: Path) -> None:
    folder = prepared(tmp_path)
    measurement().run(folder)
    whole, path = results(folder), folder / "items/000001.safetensors"
    with safe_open(path, framework="pt") as file:
        metadata, tensors = file.metadata(), {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
    save_file(tensors, path, metadata={"item": metadata["item"]})
    prepared(tmp_path)
    assert path.is_file()
    assert results(folder) == whole


def test_a_clip_that_a_system_cannot_code_is_left_out_and_named(tmp_path: Path) -> None:
    short = measurement()
    short.sampling_rate = 192000  # one sample of it is none at the 16 kHz of the systems
    short.clips = lambda wanted, skipped: [
        (0, "short", None, torch.zeros(1, 1)),
        (1, "long", None, torch.zeros(1, 9000)),
    ]
    skipped = short.run(prepared(tmp_path))
    assert skipped == {"short": "it is too short for one sample at 16000 Hz, the rate of vae."}
    assert [item.name for item in load_items(prepared(tmp_path))] == ["long"]


def test_settings_that_are_none_are_named(tmp_path: Path) -> None:
    folder = prepared(tmp_path)
    (folder / "settings.json").write_text("[]")
    with pytest.raises(ValueError, match="settings.json does not hold the settings of an evaluation; delete it"):
        prepared(tmp_path)
