"""Screenshots of the studio for docs/studio.md: `python -m tests.studio.screenshots`."""

import shutil
import tempfile
from pathlib import Path

from playwright.sync_api import Page, sync_playwright

from hf_audio_vae.studio import build_app
from tests.studio.parts import workshop

IMAGES = Path(__file__).parents[2] / "docs/images"
WIDTH, HEIGHT = 1100, 900


def main() -> None:
    """Write the pictures."""
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        app = build_app(workshop(Path(folder), max_seconds=30.0))
        app.launch(quiet=True, prevent_thread_lock=True, ssr_mode=False, footer_links=[])
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": WIDTH, "height": HEIGHT})
        page.goto(app.local_url)
        page.wait_for_timeout(5000)
        take(page, "reconstruct")
        page.get_by_role("tab", name="Blind test").click()
        page.locator("#blind-start").click()
        page.locator("#blind-x a[data-testid=download-link]").wait_for()
        page.locator("#blind-x-is-a").click()
        page.locator("#blind-verdict").get_by_text("of 1 right").wait_for()
        page.wait_for_timeout(3000)
        take(page, "blind-test")
        page.get_by_role("tab", name="Morph").click()
        page.locator("#morph-button").click()
        page.locator("#morph-result a[data-testid=download-link]").wait_for()
        page.wait_for_timeout(3000)
        take(page, "morph")
        page.get_by_role("tab", name="Inpaint").click()
        page.locator("#inpaint-show").click()
        page.wait_for_timeout(5000)
        paint(page)
        take(page, "inpaint")
        browser.close()
        app.close(verbose=False)


def paint(page: Page) -> None:
    """Draw a stroke over the middle of the spectrogram."""
    box = page.locator("#inpaint-editor canvas").first.bounding_box()
    if box is None:
        raise ValueError("the editor has no canvas; update the selector.")
    x, y = box["x"] + 0.45 * box["width"], box["y"] + 0.5 * box["height"]
    page.mouse.move(x, y)
    page.mouse.down()
    page.mouse.move(x + 90, y, steps=12)
    page.mouse.up()
    page.wait_for_timeout(1000)


def take(page: Page, name: str) -> None:
    """Write a picture of the whole page, with few colours."""
    path = IMAGES / f"studio-{name}.jpg"
    page.screenshot(path=path, full_page=True, type="jpeg", quality=80)
    print(path)


if __name__ == "__main__":
    main()
