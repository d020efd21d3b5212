"""The page of a map in a real browser, from a file."""

from collections.abc import Iterator
from typing import Any

import pytest
import torch

from hf_audio_vae.evaluation.sound_maps import map_page, mp3_preview
from tests.browsers import chromium, needs_browser
from tests.evaluation.sound_maps.maps import line_map

pytestmark = [pytest.mark.slow, needs_browser]
HOSTILE = '</script><img src=x onerror="window.harmed = true">'


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    path = tmp_path_factory.mktemp("map") / "map.html"
    sounds = [mp3_preview(0.1 * torch.randn(1, 8000 * (1 + index)), 8000, 10.0) for index in range(5)]
    path.write_text(map_page(line_map(names=["one", "two", "three", "four", HOSTILE]), sounds, "sounds"), "utf-8")
    with chromium() as browser:
        page = browser.new_page()
        page.addresses = []
        page.on("request", lambda request: page.addresses.append(request.url))
        page.goto(path.as_uri())
        yield page


def test_a_click_plays_the_sound_and_lists_the_nearest(page: Any) -> None:
    page.locator("#point-0").click(force=True)
    assert page.evaluate("window.soundMap.selected") == 0
    page.wait_for_timeout(500)
    assert page.evaluate("document.querySelector('#player').duration") == pytest.approx(1.0, abs=0.1)
    assert not page.evaluate("document.querySelector('#player').error")
    neighbours = page.locator("#neighbours").inner_text()
    assert neighbours.index("two") < neighbours.index("three")
    page.keyboard.press("ArrowRight")
    assert page.evaluate("window.soundMap.selected") != 0


def test_a_class_is_hidden_and_shown(page: Any) -> None:
    page.locator("#class-0").click()
    assert not page.locator("#point-0").is_visible()
    page.locator("#class-0").click()
    assert page.locator("#point-0").is_visible()


def test_names_are_no_code_and_nothing_is_fetched(page: Any) -> None:
    page.evaluate("window.soundMap.select(4)")
    assert page.evaluate("window.harmed") is None
    assert all(address.startswith(("file:", "data:", "blob:")) for address in page.addresses)
