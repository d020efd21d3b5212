"""What callers send instead of what the page can give: a value, or one line that names it and the remedy."""

import io
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import gradio as gr
import numpy as np
import pytest
from PIL import Image

from hf_audio_vae.studio.components import seed_input
from hf_audio_vae.studio.inputs import MAX_LAYERS, checked, message_of, number

NAN, INFINITY = float("nan"), float("inf")


def image(width: int, height: int, *, mode: str = "RGBA") -> bytes:
    file = io.BytesIO()
    Image.new(mode, (width, height)).save(file, "png")
    return file.getvalue()


@pytest.mark.parametrize("value", [None, NAN, INFINITY, -INFINITY, -0.5, 10.5, 10**400, True, "5", [5], {}])
def test_a_number_that_a_slider_does_not_have_is_refused(value: object) -> None:
    with pytest.raises(ValueError, match=r"^share is .*; give a number from 0 to 10\.$"):
        checked(gr.Slider(0, 10, label="share"), value)


def test_numbers_within_bounds_are_given_with_their_type() -> None:
    assert [checked(gr.Slider(0, 10, label="share"), value) for value in (0, 2.5, 10)] == [0.0, 2.5, 10.0]
    steps = checked(gr.Slider(1, 200, precision=0, label="steps"), 200.0)
    assert (steps, type(steps)) == (200, int)
    with pytest.raises(ValueError, match=r"steps is 1\.5; give a whole number from 1 to 200\."):
        checked(gr.Slider(1, 200, precision=0, label="steps"), 1.5)
    with pytest.raises(ValueError, match=r"top k is -1; give a whole number of 0 or more\."):
        number("top k", -1, 0, None, whole=True)
    with pytest.raises(ValueError, match="seed is empty; give a whole number from 0 to 4294967295"):
        checked(seed_input("seed"), None)
    for value in (NAN, INFINITY):
        with pytest.raises(ValueError, match=r"give a number\."):
            number("amount", value, None, None, whole=False)


@pytest.mark.parametrize("value", [None, "c", "", ["a"], {"a": 1}, 0, NAN])
def test_a_name_that_a_menu_does_not_have_is_refused(value: object) -> None:
    with pytest.raises(ValueError, match=r"model is .*; choose from a, b\."):
        checked(gr.Dropdown(["a", "b"], value="a", label="model"), value)


def test_names_of_boxes_are_a_list_of_those_on_the_page() -> None:
    boxes = gr.CheckboxGroup(["a", "b"], label="models")
    assert checked(boxes, ["b"]) == ["b"]
    assert checked(boxes, []) == []
    for value in (["a", "c"], None, "c", 3, [["a"]]):
        with pytest.raises(ValueError, match=r"models is .*; choose from a, b\."):
            checked(boxes, value)


def test_a_long_value_is_shortened_in_its_message() -> None:
    with pytest.raises(ValueError, match="choose from a") as error:
        checked(gr.Dropdown(["a"], label="model"), "x" * 10**6)
    assert len(str(error.value)) < 100


def test_layers_of_a_painting_are_read_from_files_and_from_what_a_browser_sent(tmp_path: Path) -> None:
    (tmp_path / "layer.png").write_bytes(image(3, 2))
    (tmp_path / "gray.png").write_bytes(image(4, 1, mode="L"))
    editor = gr.ImageEditor()
    files = [{"path": str(tmp_path / name)} for name in ("layer.png", "gray.png")]
    assert [layer.shape for layer in checked(editor, {"layers": files})] == [(2, 3, 4), (1, 4, 4)]
    editor.blob_storage["1"] = SimpleNamespace(layers=[image(5, 6), None])
    (layer,) = checked(editor, {"layers": [], "id": "1"})
    assert layer.shape == (6, 5, 4)
    assert layer.dtype == np.uint8
    assert not editor.blob_storage
    assert checked(editor, None) == checked(editor, {"layers": [], "id": "2"}) == []


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (lambda: image(4000, 4000), "the painting has 4000 x 4000 pixels"),
        (lambda: image(20000, 20000, mode="1"), "the painting"),
        (lambda: b"no image", "the painting is no image"),
        (lambda: image(300, 300)[:100], "the painting is no image"),
        (lambda: b"", "the painting is no image"),
    ],
)
def test_a_layer_that_is_no_small_image_is_refused(content: Callable[[], bytes], message: str, tmp_path: Path) -> None:
    (tmp_path / "layer.png").write_bytes(content())
    with pytest.raises(ValueError, match=message) as error:
        checked(gr.ImageEditor(), {"layers": [{"path": str(tmp_path / "layer.png")}]})
    assert str(tmp_path) not in str(error.value)


def test_many_layers_are_refused_before_they_are_read() -> None:
    layers = [{"path": "nowhere.png"}] * (MAX_LAYERS + 1)
    with pytest.raises(ValueError, match="9 layers; give at most 8"):
        checked(gr.ImageEditor(), {"layers": layers})


def test_a_message_is_text_without_folders() -> None:
    missing = FileNotFoundError(2, "No such file or directory", "/private/folder/a.wav")
    assert message_of(missing) == "a.wav: No such file or directory"
    assert message_of(ValueError("<img src=x>.wav cannot be read")) == "&lt;img src=x&gt;.wav cannot be read"
