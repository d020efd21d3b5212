"""The page as a parser of HTML reads it: its data, its sounds, and names that are no code."""

import base64
import hashlib
import io
import json
import re
from html.parser import HTMLParser
from typing import Any

import pytest
import soundfile
import torch

from hf_audio_vae.evaluation.sound_maps import map_page, mp3_preview
from tests.evaluation.sound_maps.maps import LABELS, line_map

SECONDS = (0.25, 0.5, 1.0, 0.125, 2.0)
HOSTILE = (
    "</script><img src=x onerror=alert(1)>",
    "<!--<script>",
    "]]>\"'`${alert(1)}",
    "{{SOUNDS}}",
    "\u2028&lt;b&gt;\u0000",
)


class Page(HTMLParser):
    """Elements and the text of each by its id."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.texts: dict[str, str] = {}
        self._open = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        self._open = dict(attrs).get("id") or tag

    def handle_data(self, data: str) -> None:
        self.texts[self._open] = self.texts.get(self._open, "") + data

    def handle_endtag(self, tag: str) -> None:
        self._open = ""

    def json(self, name: str) -> Any:
        return json.loads(self.texts[name])


def sounds() -> list[bytes]:
    return [mp3_preview(0.1 * torch.ones(1, round(seconds * 8000)), 8000, 9.0) for seconds in SECONDS]


def test_the_data_are_those_of_the_map() -> None:
    sound_map = line_map()
    data = Page(map_page(sound_map, [], "a title")).json("map-data")
    assert data["title"] == "a title" and data["axes"] == list(sound_map.projection.labels)
    assert [(one["name"], one["count"]) for one in data["classes"]] == [("a", 2), ("b", 2), (None, 1)]
    for index, (point, clip) in enumerate(zip(data["points"], sound_map.clips, strict=True)):
        assert (point["name"], point["seconds"]) == (clip.name, clip.seconds)
        assert data["classes"][point["class"]]["name"] == clip.label
        assert point["coordinates"] == sound_map.projection.coordinates[index].tolist()
        assert [near for near, _ in point["neighbours"]] == sound_map.neighbours.indices[index].tolist()
        assert [distance for _, distance in point["neighbours"]] == sound_map.neighbours.distances[index].tolist()


def test_each_clip_has_one_sound_of_its_length() -> None:
    found = Page(map_page(line_map(), sounds(), "")).json("map-sounds")
    lengths = [soundfile.info(io.BytesIO(base64.b64decode(sound))).duration for sound in found]
    assert lengths == pytest.approx(list(SECONDS))
    assert Page(map_page(line_map(), [], "")).json("map-sounds") == []
    with pytest.raises(ValueError, match="2 sounds for 5 clips"):
        map_page(line_map(), sounds()[:2], "")


def test_names_are_data_and_add_no_element() -> None:
    plain, hostile = (
        Page(map_page(line_map(labels, names), sounds(), title))
        for labels, names, title in ((LABELS, None, "title"), (HOSTILE, HOSTILE, HOSTILE[0]))
    )
    assert [tag for tag, _ in hostile.elements] == [tag for tag, _ in plain.elements]
    assert not [name for _, attributes in hostile.elements for name in attributes if name.startswith("on")]
    assert [point["name"] for point in hostile.json("map-data")["points"]] == list(HOSTILE)
    assert {one["name"] for one in hostile.json("map-data")["classes"]} == set(HOSTILE)
    assert hostile.texts["title"] == HOSTILE[0]
    assert len(hostile.json("map-sounds")) == len(HOSTILE)


def test_the_page_allows_its_own_script_and_no_network() -> None:
    text = map_page(line_map(), sounds(), "title")
    page = Page(text)
    (policy,) = [
        attributes["content"] or ""
        for tag, attributes in page.elements
        if tag == "meta" and attributes.get("http-equiv") == "Content-Security-Policy"
    ]
    allowed = dict(part.strip().split(" ", 1) for part in policy.split(";"))
    hashes = {
        tag: base64.b64encode(hashlib.sha256(re.findall(f"<{tag}>(.*?)</{tag}>", text, re.S)[0].encode()).digest())
        for tag in ("script", "style")
    }
    assert allowed == {
        "default-src": "'none'",
        "script-src": f"'sha256-{hashes['script'].decode()}'",
        "style-src": f"'sha256-{hashes['style'].decode()}'",
        "media-src": "data:",
    }
    assert not [
        attributes for _, attributes in page.elements for name in attributes if name in ("src", "href", "style")
    ]
    urls = set(re.findall(r"https?://[^\s\"']+", text))
    assert urls == {"http://www.w3.org/2000/svg"}, "the name of a language, which no browser opens"
    assert "innerHTML" not in text and "{{" not in text


def test_the_ids_that_tests_of_a_browser_use_are_there_once() -> None:
    ids = [attributes["id"] for _, attributes in Page(map_page(line_map(), [], "")).elements if "id" in attributes]
    expected = {"map", "tooltip", "classes", "show-all", "hide-all", "player", "neighbours", "selected-name"}
    assert expected | {"zoom-in", "zoom-out", "zoom-reset", "map-data", "map-sounds"} <= set(ids)
    assert len(set(ids)) == len(ids)
