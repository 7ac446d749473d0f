"""A real Chromium without a window, with WebGL in software, so that pages look the same wherever it runs."""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

from playwright.sync_api import Browser, BrowserType, Page, sync_playwright

SOFTWARE_WEBGL = ("--use-angle=swiftshader", "--enable-unsafe-swiftshader")


@contextlib.contextmanager
def chromium() -> Iterator[Browser]:
    """The browser that FOLDCLI_CHROMIUM names."""
    with sync_playwright() as playwright, launched(playwright.chromium, *SOFTWARE_WEBGL) as browser:
        yield browser


def launched(kind: BrowserType, *flags: str) -> Browser:
    """One with flags of its own. Pages are our own, so it may run as root, who has no sandbox."""
    return kind.launch(executable_path=os.environ["FOLDCLI_CHROMIUM"], args=[*flags, "--no-sandbox"])


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
    page.wait_for_selector("body[aria-busy=false]")  # the page's policy lets no function that waits run in it
