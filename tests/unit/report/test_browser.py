"""The page in a browser: no errors, nothing wider than the window, atoms that turn; also without scripts."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pages import write_observable
from PIL import Image
from watching import served

from allegro_md.cli import main

CHROMIUM = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")
SWITCHES = [
    "--no-sandbox", "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update",
    "--disable-sync", "--use-gl=angle", "--use-angle=swiftshader", "--enable-unsafe-swiftshader",
]  # fmt: skip

PLACE = "document.getElementById('thermo').getBoundingClientRect().top"
HEAD = "document.getElementById('head').innerText.includes('{}')"

pytestmark = pytest.mark.long
CopyRun = Callable[..., Path]


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """A Chromium without a window; WebGL in software."""
    playwright = pytest.importorskip("playwright.sync_api", reason="no playwright (pip install playwright)")
    if CHROMIUM is None:
        pytest.skip("no chromium (install it, or set $CHROMIUM)")
    with playwright.sync_playwright() as running:
        opened = running.chromium.launch(executable_path=CHROMIUM, args=SWITCHES)
        yield opened
        opened.close()


@contextmanager
def tab(browser: Any, address: str, width: int, **options: Any) -> Iterator[tuple[Any, list[str]]]:
    """A page of a width, and the list of what it has complained of or asked the network for."""
    context = browser.new_context(viewport={"width": width, "height": 900}, **options)
    found: list[str] = []
    opened = context.new_page()
    opened.on("console", lambda message: found.append(message.text))
    opened.on("pageerror", lambda error: found.append(str(error)))
    opened.on("request", lambda request: found.append(request.url) if request.url.startswith("http") else None)
    opened.goto(address)
    yield opened, found
    context.close()


@pytest.fixture
def address(copy_run: CopyRun) -> str:
    directory = copy_run()
    write_observable(directory, notes=["A note of the observable."])
    assert main(["report", str(directory)]) == 0
    return (directory / "report.html").as_uri()


def picture(opened: Any) -> np.ndarray:
    """The pixels of the atoms, (height, width, 3)."""
    return np.asarray(Image.open(BytesIO(opened.locator("#viewer").screenshot())).convert("RGB"), dtype=np.int64)


def drag(opened: Any, dx: float, dy: float) -> None:
    box = opened.locator("#viewer").bounding_box()
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    opened.mouse.move(x, y)
    opened.mouse.down()
    opened.mouse.move(x + dx, y + dy, steps=5)
    opened.mouse.up()
    opened.wait_for_timeout(300)


@pytest.mark.parametrize("width", [1280, 400])
def test_atoms_turn_and_zoom(browser: Any, address: str, width: int) -> None:
    with tab(browser, address, width) as (opened, complaints):
        opened.wait_for_selector("#viewer canvas")
        assert opened.evaluate("document.documentElement.scrollWidth") == width
        opened.locator("#viewer").scroll_into_view_if_needed()
        opened.wait_for_timeout(500)
        before = picture(opened)
        colored = (np.ptp(before, axis=2) > 30).mean()  # argon is cyan, all else is gray
        assert 0.02 < colored < 0.9
        drag(opened, 100.0, 40.0)
        turned = picture(opened)
        assert (np.abs(turned - before).max(axis=2) > 30).mean() > 0.02
        opened.mouse.wheel(0.0, 400.0)
        opened.wait_for_timeout(300)
        zoomed = picture(opened)
        assert abs((np.ptp(zoomed, axis=2) > 30).mean() - (np.ptp(turned, axis=2) > 30).mean()) > 0.01
        assert complaints == []


def test_without_scripts_and_on_paper(browser: Any, address: str) -> None:
    with tab(browser, address, 1280, java_script_enabled=False) as (opened, complaints):
        text = opened.inner_text("main")
        for part in ("Done: all 200 steps were made.", "temperature (K)", "A note of the observable.", "256 Ar"):
            assert part in text
        assert opened.locator("#thermo img").count() == 4
        opened.emulate_media(media="print")
        assert opened.locator("#thermo img").first.is_visible()
        assert complaints == []


def test_dark(browser: Any, address: str) -> None:
    with tab(browser, address, 1280, color_scheme="dark") as (opened, complaints):
        style = "getComputedStyle(document.body)"
        text, paper = opened.evaluate(f"[{style}.color, {style}.backgroundColor]")
        assert text != paper and paper != "rgb(255, 255, 255)"
        assert complaints == []


def test_page_follows_a_run(browser: Any, copy_run: CopyRun) -> None:
    """The text changes by itself; the place of the window, what is unfolded and the view of the atoms do not."""
    directory = copy_run(status="running")
    (directory / ".lock").write_text("17 elsewhere\n")
    with served(directory) as (address, server), tab(browser, address, 1280) as (opened, complaints):
        opened.wait_for_selector("#viewer canvas")
        opened.click("summary")
        opened.evaluate("window.scrollTo(0, 700)")
        before = opened.evaluate(PLACE)
        assert "Still running" in opened.inner_text("#head")
        (directory / ".lock").unlink()
        opened.wait_for_function(HEAD.format("Killed"), timeout=90_000)
        assert abs(opened.evaluate(PLACE) - before) < 2.0
        assert opened.locator("#input details[open]").count() == 1
        server.kill()
        opened.wait_for_function(HEAD.format("no longer follows"), timeout=60_000)
    assert [text for text in complaints if not text.startswith(address) and "ERR_" not in text] == []
