"""A real Chromium without a window, with WebGL in software, so that pages look the same wherever it runs."""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

from playwright.sync_api import Browser, Page, sync_playwright

SOFTWARE_WEBGL = ("--use-angle=swiftshader", "--enable-unsafe-swiftshader")


@contextlib.contextmanager
def chromium(*flags: str) -> Iterator[Browser]:
    """The browser that FOLDCLI_CHROMIUM names. Pages are our own, so it may run as root, who has no sandbox."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=os.environ["FOLDCLI_CHROMIUM"], args=[*(flags or SOFTWARE_WEBGL), "--no-sandbox"]
        )
        yield browser
        browser.close()


def opened(browser: Browser, file: Path, width: int, height: int, dark: bool = False) -> Page:
    """A page of a window of its own, which has no network."""
    context = browser.new_context(
        viewport={"width": width, "height": height}, color_scheme="dark" if dark else "light", offline=True
    )
    page = context.new_page()
    page.set_default_timeout(20_000)
    page.goto(file.resolve().as_uri())
    return page


def wait_until_drawn(page: Page) -> None:
    """Wait for the structure of a job's page, and for its map where it has one."""
    page.wait_for_function("document.body.ariaBusy === 'false'")
