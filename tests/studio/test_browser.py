"""The studio in a real browser: uploads, clicks, players with the right duration, and what the server gives away."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.parse import quote
from urllib.request import Request, urlopen

import gradio as gr
import pytest

from hf_audio_vae.audio import read_audio, write_audio
from hf_audio_vae.studio import build_app
from hf_audio_vae.studio.workshop import Workshop
from tests.browsers import chromium, needs_browser
from tests.cli.files import noise
from tests.studio.parts import HELD_OUT, RATE, SECONDS, workshop

pytestmark = [pytest.mark.slow, needs_browser]
WAIT = 60_000  # milliseconds


@pytest.fixture(scope="module")
def studio(tmp_path_factory: pytest.TempPathFactory) -> Workshop:
    return workshop(tmp_path_factory.mktemp("studio"), max_seconds=6.0)


@pytest.fixture(scope="module")
def app(studio: Workshop) -> Iterator[gr.Blocks]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GRADIO_TEMP_DIR", "")  # `build_app` sets it
        found = build_app(studio)
        found.launch(
            server_name="127.0.0.1", quiet=True, prevent_thread_lock=True, ssr_mode=False, max_file_size="1mb"
        )
        yield found
        found.close(verbose=False)


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with chromium() as found:
        yield found


@pytest.fixture
def page(app: gr.Blocks, browser: Any) -> Iterator[Any]:
    found = browser.new_page(viewport={"width": 1200, "height": 1000})
    found.set_default_timeout(WAIT)
    found.goto(app.local_url)
    yield found
    found.close()


def open_tab(page: Any, name: str) -> None:
    page.get_by_role("tab", name=name, exact=True).click()


def upload(page: Any, elem_id: str, path: Path) -> None:
    """Replace the sound of a player."""
    player = page.locator(f"#{elem_id}")
    if (clear := player.get_by_label("Clear")).count():
        clear.first.click()
    player.locator("input[type=file]").set_input_files(path)


def sound_of(page: Any, elem_id: str, *, other_than: str = "") -> tuple[str, float]:
    """Wait for a sound in a player; return its address and the seconds that the browser finds in it."""
    link = f"#{elem_id} a[data-testid=download-link]"
    address = page.wait_for_function(
        "([link, before]) => [document.querySelector(link)?.href].find((found) => found && found !== before)",
        arg=[link, other_than],
    ).json_value()
    seconds = page.evaluate(
        """address => new Promise((resolve, reject) => {
            const audio = new Audio(address);
            audio.onloadedmetadata = () => resolve(audio.duration);
            audio.onerror = () => reject(new Error(`the browser cannot play ${address}`));
        })""",
        address,
    )
    return address, seconds


def test_the_studio_opens_with_something_to_hear_and_asks_no_other_host(app: gr.Blocks, browser: Any) -> None:
    page, hosts = browser.new_page(), set[str]()
    page.on("request", lambda request: hosts.add(request.url.split("/")[2]))
    page.goto(app.local_url)
    _, seconds = sound_of(page, "reconstruct-result-0")
    assert seconds == pytest.approx(1.905, abs=0.01)
    assert page.locator("#reconstruct-spectrograms img").is_visible()
    assert hosts == {app.local_url.split("/")[2]}
    page.close()


def test_an_uploaded_sound_goes_through_both_models(page: Any) -> None:
    before = [sound_of(page, f"reconstruct-result-{index}")[0] for index in range(2)]
    upload(page, "reconstruct-sound", HELD_OUT / "speech_en_0890.flac")
    sound_of(page, "reconstruct-sound")
    page.locator("#reconstruct-button").click()
    for index in range(2):
        _, seconds = sound_of(page, f"reconstruct-result-{index}", other_than=before[index])
        assert seconds == pytest.approx(5.3, abs=0.01)
    assert "codec" in page.locator("#reconstruct-metrics").inner_text()


def test_a_bad_upload_gives_a_message_and_the_app_lives_on(page: Any, tmp_path: Path) -> None:
    before, _ = sound_of(page, "reconstruct-result-0")
    (tmp_path / "text.wav").write_text("not a sound")
    write_audio(tmp_path / "long.wav", noise(7 * 8000), 8000)
    for name, message in (("text.wav", "text.wav"), ("long.wav", "the sound has 7.00 s; use one of at most 6 s")):
        upload(page, "reconstruct-sound", tmp_path / name)
        page.wait_for_timeout(500)
        page.locator("#reconstruct-button").click()
        toast = page.get_by_test_id("toast-body").filter(has_text=message)
        toast.wait_for()
        assert str(tmp_path) not in toast.inner_text()
    write_audio(tmp_path / "large.wav", noise(300_000), 8000)  # 1.2 MB
    upload(page, "reconstruct-sound", tmp_path / "large.wav")
    page.get_by_test_id("toast-body").filter(has_text="maximum allowed size").wait_for()
    upload(page, "reconstruct-sound", HELD_OUT / "tabla_na.flac")
    sound_of(page, "reconstruct-sound")
    page.locator("#reconstruct-button").click()
    assert sound_of(page, "reconstruct-result-0", other_than=before)[1] == pytest.approx(0.72, abs=0.01)


def test_the_blind_test_counts_right_answers(page: Any) -> None:
    open_tab(page, "Blind test")
    page.locator("#blind-start").click()
    addresses = [sound_of(page, f"blind-{name}")[0] for name in "ab"]
    assert not page.locator("#blind-a #waveform").is_visible()  # eyes would find X
    a, b = map(samples_at, addresses)
    assert a != b
    x, right = "", 0
    for answers, truthful in enumerate((True, True, False, True), start=1):
        x, _ = sound_of(page, "blind-x", other_than=x)
        assert x not in addresses
        is_a = samples_at(x) == a
        assert is_a or samples_at(x) == b
        right += truthful
        page.locator("#blind-x-is-a" if is_a == truthful else "#blind-x-is-b").click()
        page.locator("#blind-verdict").get_by_text(f"{right} of {answers} right").wait_for()


def test_two_visitors_have_their_own_blind_tests(app: gr.Blocks, browser: Any) -> None:
    pages = [browser.new_page(viewport={"width": 400, "height": 800}) for _ in range(2)]  # as wide as a phone
    for page in pages:
        page.set_default_timeout(WAIT)
        page.goto(app.local_url)
        open_tab(page, "Blind test")
        page.locator("#blind-start").click()
        sound_of(page, "blind-x")
        assert page.evaluate("document.documentElement.scrollWidth") <= 400
    for page, answers in zip(pages, (2, 1), strict=True):
        for answer in range(1, answers + 1):
            page.locator("#blind-x-is-a").click()
            page.locator("#blind-verdict").get_by_text(f"of {answer} right").wait_for()
        page.close()


def test_an_empty_seed_and_names_with_markup_are_messages_of_text(page: Any, tmp_path: Path) -> None:
    open_tab(page, "Sample")
    page.locator("#sample-seed input").fill("")
    page.locator("#sample-button").click()
    page.get_by_test_id("toast-body").filter(has_text="seed is empty; give a whole number").wait_for()
    open_tab(page, "Reconstruct")
    path = tmp_path / "<img src=x onerror='window.harmed = true'>.wav"
    path.write_text("not a sound")
    upload(page, "reconstruct-sound", path)
    page.wait_for_timeout(500)
    page.locator("#reconstruct-button").click()
    page.get_by_test_id("toast-body").filter(has_text="cannot be decoded").wait_for()
    assert page.evaluate("window.harmed") is None


def samples_at(address: str) -> bytes:
    with urlopen(address) as response:
        waveform, _ = read_audio(response.read())
    return waveform.numpy().tobytes()


def test_a_morph_lies_between_its_ends(page: Any) -> None:
    open_tab(page, "Morph")
    page.locator("#morph-button").click()
    first, seconds = sound_of(page, "morph-result")
    assert seconds == pytest.approx((1.905 + 5.3) / 2, abs=0.1)
    page.locator("#morph-moving").click()
    assert sound_of(page, "morph-result", other_than=first)[1] == pytest.approx(5.3, abs=0.1)


@pytest.mark.parametrize(
    ("tab", "button", "result", "seconds"),
    [
        ("Principal axes", "axes-button", "axes-result", 1.905),
        ("Arithmetic", "arithmetic-button", "arithmetic-result", 1.905),
        ("Sample", "sample-button", "sample-result", 4.0),
        ("Generate", "generate-button", "generate-result", SECONDS),
        ("Generate", "codes-button", "codes-result", 0.5),
    ],
)
def test_every_tab_makes_a_sound(page: Any, tab: str, button: str, result: str, seconds: float) -> None:
    open_tab(page, tab)
    if button == "codes-button":
        page.locator("#codes-seconds input[type=number]").fill("0.5")
    page.locator(f"#{button}").click()
    assert sound_of(page, result)[1] == pytest.approx(seconds, abs=0.02)


def test_painting_replaces_that_part_of_the_sound(page: Any, studio: Workshop) -> None:
    open_tab(page, "Inpaint")
    page.locator("#inpaint-button").click()
    page.get_by_test_id("toast-body").filter(has_text="nothing is painted").wait_for()
    page.locator("#inpaint-show").click()
    page.wait_for_timeout(3000)
    canvas = page.locator("#inpaint-editor canvas").first
    box = canvas.bounding_box()
    assert box is not None
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    page.mouse.move(x, y)
    page.mouse.down()
    page.mouse.move(x + 60, y, steps=8)
    page.mouse.up()
    page.wait_for_timeout(1000)
    page.locator("#inpaint-button").click()
    address, seconds = sound_of(page, "inpaint-result")
    assert seconds == pytest.approx(1.905, abs=0.01)
    before = studio.read(str(HELD_OUT / "loop_breakbeat.flac"), studio.pipelines["drums"].vae)
    with urlopen(address) as response:
        after, rate = read_audio(response.read())
    assert rate == RATE
    changed = (after - before).abs()[0]
    assert changed[: rate // 2].max() < 1e-4  # the sound has 1.9 s, and the middle was painted
    assert changed[rate * 4 // 5 : rate * 11 // 10].max() > 1e-3


def test_only_files_that_the_app_made_are_served(app: gr.Blocks, tmp_path: Path) -> None:
    secret = tmp_path / "secret.wav"
    write_audio(secret, noise(100), 8000)
    for path in (secret, Path("/etc/passwd"), Path("setup.cfg").absolute()):
        with pytest.raises(HTTPError) as error:
            urlopen(f"{app.local_url}gradio_api/file={quote(str(path))}")
        assert error.value.code in (403, 404)


def test_a_caller_cannot_name_a_file_of_the_server_as_its_upload(app: gr.Blocks, tmp_path: Path) -> None:
    secret = tmp_path / "secret.wav"
    write_audio(secret, noise(8000), 8000)
    sound = {"path": str(secret), "meta": {"_type": "gradio.FileData"}}
    call = Request(f"{app.local_url}gradio_api/call/compare", headers={"content-type": "application/json"})
    call.data = json.dumps({"data": [sound, ["codec"]]}).encode()
    with urlopen(call) as response:
        event = json.load(response)["event_id"]
    with urlopen(f"{app.local_url}gradio_api/call/compare/{event}") as response:
        assert response.read().startswith(b"event: error")
