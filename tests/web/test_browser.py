"""A person at the page, in Debian's or another Chromium: upload, run, see, move the threshold, download, close."""

from __future__ import annotations

import os
import re
import shutil
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from peekaboo.web.server import Server, serve
from peekaboo.web.wishes import Offer

pytest.importorskip("gradio", reason="the page needs the extra `web`")
playwright = pytest.importorskip("playwright.sync_api", reason="the page's test needs Playwright (pip install '.[dev]')")
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome", "chrome"))), None)
pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine (apt install chromium)"),
]
SLOWLY = 60_000  # milliseconds that a slow machine may take for what another does at once


@pytest.fixture
def server(offer: Offer) -> Iterator[Server]:
    one = serve(offer, port=0, words=["apple", "teddy bear"])
    yield one
    one.close()


@pytest.fixture
def addresses() -> list[str]:
    """What the browser asked for."""
    return []


@pytest.fixture
def page(server: Server, addresses: list[str]) -> Iterator[Any]:
    root = ["--no-sandbox"] if hasattr(os, "geteuid") and os.geteuid() == 0 else []
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=[*root, "--disable-gpu"])
        page = browser.new_page(viewport={"width": 1280, "height": 1000})
        page.set_default_timeout(SLOWLY)
        page.on("request", lambda request: addresses.append(request.url))
        page.goto(server.url)
        page.wait_for_selector("#run")
        yield page
        browser.close()


def status(page: Any, pattern: str) -> str:
    """Waits for a line on the page."""
    playwright.expect(page.locator("#status")).to_contain_text(re.compile(pattern), timeout=SLOWLY)
    return str(page.inner_text("#status"))


def figures(page: Any, pattern: str) -> str:
    playwright.expect(page.locator("#figures")).to_contain_text(re.compile(pattern), timeout=SLOWLY)
    return str(page.inner_text("#figures"))


def download(page: Any, kind: str, folder: Path) -> Path:
    with page.expect_download(timeout=SLOWLY) as waiting:
        page.click(f"#get_{kind}")
    file = folder / waiting.value.suggested_filename
    waiting.value.save_as(file)
    return file


def test_upload_run_see_clean_up_download(
    page: Any, server: Server, offer: Offer, addresses: list[str], image_file: Path, tmp_path: Path
) -> None:
    page.click("#run")
    assert "image: expected one, got none" in status(page, "expected")

    page.set_input_files("#image input[type=file]", str(image_file))
    page.wait_for_selector("#image img")
    page.fill("#prompts textarea", "a red apple\na bear")
    page.click("#run")
    assert "'a bear'" in status(page, "settled after|4 iterations")
    for tab, name in (("Cut-out", "cutout"), ("Mask", "mask"), ("Time-lapse", "lapse"), ("Masks", "overlay")):
        page.get_by_role("tab", name=tab, exact=True).click()
        page.wait_for_selector(f"#{name} img")
    found = figures(page, "a bear")
    assert "a red apple" in found and page.locator("#chosen label").count() == 2
    assert len(offer.load.asked) == 1  # type: ignore[attr-defined]

    page.fill("#threshold input[type=number]", "0.99")
    page.press("#threshold input[type=number]", "Enter")
    assert "nothing found for 'a red apple'" in status(page, "nothing found")
    figures(page, r"a bear\s*0\.0%")
    page.fill("#threshold input[type=number]", "0.5")
    page.press("#threshold input[type=number]", "Enter")
    again = figures(page, r"a bear\s*[1-9]")
    assert again == found and len(offer.load.asked) == 1  # type: ignore[attr-defined]

    area = float(re.findall(r"a red apple\s+([\d.]+)%", again)[0])
    mask = np.asarray(Image.open(download(page, "mask", tmp_path)))
    assert mask.shape == (20, 28) and set(np.unique(mask)) == {0, 255}
    assert 100 * (mask > 0).mean() == pytest.approx(area, abs=0.05)
    assert Image.open(download(page, "cutout", tmp_path)).mode == "RGBA"
    assert Image.open(download(page, "timelapse", tmp_path)).format == "GIF"
    with zipfile.ZipFile(download(page, "all", tmp_path)) as archive:
        assert {"all.png", "0_a-red-apple/mask.png", "1_a-bear/cutout.png"} <= set(archive.namelist())

    assert all(address.startswith((server.url, "data:", "blob:")) for address in addresses)
    kept = {file for file in server.folder.rglob("*") if file.is_file() and file.parent.name != "examples"}
    assert any(file.name == image_file.name for file in kept)
    page.close()
    until = time.monotonic() + 60
    while any(file.name == image_file.name or "apple" in file.name for file in kept if file.exists()):
        assert time.monotonic() < until, "uploads and downloads are still there"
        time.sleep(0.2)


def test_stop_keeps_the_mask(page: Any, offer: Offer) -> None:
    page.locator("#examples button, #examples [role=button], #examples img").first.click()
    page.wait_for_selector("#image img")
    assert page.input_value("#prompts textarea") == "a red apple\na teddy bear"
    page.click("#settings button")
    page.fill("#iterations input[type=number]", "400")
    page.press("#iterations input[type=number]", "Enter")
    page.fill("#prompts textarea", "a red apple")
    page.click("#run")
    status(page, "iteration [1-9]")
    page.click("#stop")
    assert re.search("stopped after [0-9]+ of 400 iterations", status(page, "stopped after"))
    figures(page, "a red apple")
    playwright.expect(page.locator("#run")).to_be_enabled()
