"""The functions behind the page, called as by someone who does not use the page."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import gradio as gr
import pytest
import torch
from gradio.route_utils import delete_files_created_by_app
from PIL import Image

from hf_audio_vae.audio import read_audio, write_audio
from hf_audio_vae.files.location import DEFAULT_MODEL
from hf_audio_vae.studio import build_app
from hf_audio_vae.studio.workshop import Workshop
from tests.studio.parts import HELD_OUT, RATE, SECONDS, workshop

NAN, INFINITY = float("nan"), float("inf")
SEED = 0


@pytest.fixture(autouse=True)
def _environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GRADIO_TEMP_DIR", "")  # `build_app` sets it


@pytest.fixture(scope="module")
def studio(tmp_path_factory: pytest.TempPathFactory) -> Workshop:
    return workshop(tmp_path_factory.mktemp("studio"), max_seconds=6.0)


@pytest.fixture(scope="module")
def app(studio: Workshop) -> Iterator[gr.Blocks]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GRADIO_TEMP_DIR", "")
        yield build_app(studio)


def functions(app: gr.Blocks) -> dict[str, Callable[..., Any]]:
    """Functions by their name in the API."""
    return {str(function.api_name): function.fn for function in app.fns.values() if function.fn is not None}


def sound(path: Path) -> dict[str, str]:
    return {"path": str(path)}


def painting(folder: Path, columns: range, *, size: tuple[int, int] = (900, 320)) -> dict[str, Any]:
    """A painting of these columns."""
    image = Image.new("RGBA", size)
    image.paste((0, 255, 255, 255), (columns.start, 0, columns.stop, size[1]))
    image.save(folder / "layer.png")
    return {"layers": [sound(folder / "layer.png")], "id": None}


def usual_calls(folder: Path) -> dict[str, list[Any]]:
    """Arguments of a call that works, by the name of the function."""
    clip = sound(HELD_OUT / "tabla_na.flac")
    return {
        "compare": [clip, ["codec"]],
        "begin": [clip, "original", "codec"],
        "morph": [DEFAULT_MODEL, clip, clip, "stretch", "linear", 0.5],
        "morph_moving": [DEFAULT_MODEL, clip, clip, "warp", "spherical"],
        "move": [clip, DEFAULT_MODEL, 1, 2],
        "add_attribute": [clip, "brighter", 1.0],
        "sample": [DEFAULT_MODEL, "autoregressive", 0.5, 1.0, SEED],
        "generate": ["drums", "drum", "", 1, 4.0, SEED, clip, 0.7],
        "generate_codes": ["codes", 0.5, 1.0, 0, SEED],
        "show_spectrogram": [clip, "drums"],
        "inpaint": [clip, "drums", "drum", 1, SEED, painting(folder, range(400, 500))],
    }


def test_usual_calls_give_a_result(app: gr.Blocks, tmp_path: Path) -> None:
    calls = usual_calls(tmp_path)
    assert set(functions(app)) >= {*calls, "answer_a", "answer_b"}
    for name, arguments in calls.items():
        functions(app)[name](*arguments)


def test_figures_come_with_the_rate_and_the_channels_that_they_are_of(app: gr.Blocks, studio: Workshop) -> None:
    clip = sound(HELD_OUT / "tabla_na.flac")
    *_, rows, _ = functions(app)["compare"](clip, list(studio.models))
    expected = [[name, m.sampling_rate, m.config.audio_channels] for name, m in studio.models.items()]
    assert [row[:3] for row in rows] == expected
    assert expected[0][1] != expected[1][1]


@pytest.mark.parametrize("bad", [None, NAN, INFINITY, -1, 10**9, 2**70, "x", ["x"], {}], ids=repr)
def test_any_value_gives_a_result_or_one_line(app: gr.Blocks, tmp_path: Path, bad: object) -> None:
    refused = 0
    for name, arguments in usual_calls(tmp_path).items():
        for position, good in enumerate(arguments):
            if isinstance(good, dict) and bad is not None:  # Gradio refuses what is no file
                continue
            try:
                functions(app)[name](*arguments[:position], bad, *arguments[position + 1 :])
            except gr.Error as error:
                refused += 1
                assert not error.print_exception  # no traceback in the log of the server
                assert "\n" not in error.message
                assert 10 < len(error.message) < 200, error.message
    assert refused > 20


def test_calls_wait_for_each_other(app: gr.Blocks) -> None:
    own = [function for function in app.fns.values() if function.api_name in {*usual_calls(Path()), "answer_a"}]
    assert {(function.concurrency_limit, function.concurrency_id) for function in own} == {(1, "models")}
    assert all(function.queue for function in own)
    assert not app.api_open  # direct calls would pass the queue
    assert app._queue.max_size == 32


def test_without_memory_there_is_one_line(app: gr.Blocks, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: object, **__: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")

    monkeypatch.setattr("hf_audio_vae.studio.sample.decode", fails)
    with pytest.raises(gr.Error, match="there is not enough memory; use a shorter sound") as error:
        functions(app)["sample"](*usual_calls(tmp_path)["sample"])
    assert not error.value.print_exception


def test_no_address_of_another_host_is_fetched(app: gr.Blocks) -> None:
    inputs = [block for block in app.blocks.values() if isinstance(block, gr.Audio | gr.ImageEditor)]
    fetching = [block for block in inputs if block.interactive is not False and fetches(block)]
    assert len(inputs) > 8
    assert not fetching


def fetches(block: Any) -> bool:
    coroutine = block.async_move_resource_to_block_cache("http://127.0.0.1:9/a.wav")
    try:
        coroutine.send(None)
    except gr.Error as error:
        assert "fetches no addresses" in error.message
        return False
    except StopIteration:
        return True
    coroutine.close()
    return True


def test_a_pipeline_of_two_seconds_changes_a_part_of_a_longer_sound(
    app: gr.Blocks, studio: Workshop, tmp_path: Path
) -> None:
    speech = HELD_OUT / "speech_en_0890.flac"
    calls, before = functions(app), studio.read(str(speech), studio.pipelines["drums"].vae)
    assert before.shape[-1] > 2 * SECONDS * RATE
    arguments = [sound(speech), "drums", "drum", 1, SEED, painting(tmp_path, range(450, 540))]
    after, rate = read_audio(calls["inpaint"](*arguments))
    assert rate == RATE
    assert after.shape == before.shape
    changed = ((after - before).abs()[0] > 1e-3).nonzero()[:, 0] / before.shape[-1]
    assert 0.45 < changed.min() < 0.55 < changed.max() < 0.65
    with pytest.raises(
        gr.Error, match="the painted part has .* s, and the pipeline generates at most 2 s; paint less"
    ):
        calls["inpaint"](*arguments[:-1], painting(tmp_path, range(900)))
    with pytest.raises(gr.Error, match=r"the sound has 5\.30 s; use one of at most 2 s"):
        calls["generate"]("drums", "drum", "", 1, 4.0, SEED, sound(speech), 0.7)


def test_a_generated_sound_is_no_longer_than_those_of_the_studio(studio: Workshop) -> None:
    app = build_app(replace(studio, max_seconds=0.3))  # shorter than the example, too
    waveform, _ = read_audio(functions(app)["generate"]("drums", "drum", "", 1, 4.0, SEED, None, 0.7))
    assert waveform.shape[-1] == round(0.3 * RATE)
    waveform, rate = read_audio(functions(app)["sample"](DEFAULT_MODEL, "standard", 0.3, 1.0, SEED))
    assert waveform.shape[-1] == round(0.3 * rate)
    for block in app.blocks.values():
        if isinstance(block, gr.Slider):
            assert block.minimum <= block.value <= block.maximum


def test_what_the_page_begins_with_is_kept_when_old_sounds_are_deleted(studio: Workshop, tmp_path: Path) -> None:
    app = build_app(replace(studio, folder=tmp_path))
    kept = [block.value["path"] for block in app.blocks.values() if isinstance(block, gr.Audio) and block.value]
    assert len(kept) > 5
    delete_files_created_by_app(app, age=None)
    assert all(Path(path).exists() for path in kept)


def test_a_blind_test_of_deleted_sounds_says_so(app: gr.Blocks, tmp_path: Path) -> None:
    trial, *_ = functions(app)["begin"](*usual_calls(tmp_path)["begin"])
    for path in trial.paths:
        Path(path).unlink()
    with pytest.raises(gr.Error, match="the sounds of this test were deleted after a day; start a new test"):
        functions(app)["answer_a"](trial)
    with pytest.raises(gr.Error, match="no test has begun"):
        functions(app)["answer_b"](None)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("channels", "time", "rate"), [(1, 1, 8000), (6, 4000, 48000), (2, 19200, 192000), (1, 2, 1), (1, 800, 8000)]
)
def test_odd_sounds_give_a_result_or_one_line(
    app: gr.Blocks, tmp_path: Path, channels: int, time: int, rate: int
) -> None:
    path = tmp_path / ("long " * 40 + "ü <b>'%20.wav")
    write_audio(path, torch.zeros(channels, time), rate)  # silence
    for name, arguments in usual_calls(tmp_path).items():
        with_sound = [sound(path) if isinstance(item, dict) and "path" in item else item for item in arguments]
        if with_sound == arguments:
            continue
        try:
            functions(app)[name](*with_sound)
        except gr.Error as error:
            assert str(tmp_path) not in error.message
            assert "<b>" not in error.message
