"""A headless Chromium with WebGL in software, so that pages look the same on every machine."""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

from playwright.sync_api import Browser, BrowserType, Page, sync_playwright

SOFTWARE_WEBGL = ("--use-angle=swiftshader", "--enable-unsafe-swiftshader")


@contextlib.contextmanager
def chromium() -> Iterator[Browser]:
    """The browser at the path in FOLDCLI_CHROMIUM."""
    with sync_playwright() as playwright, launched(playwright.chromium, *SOFTWARE_WEBGL) as browser:
        yield browser


def launched(kind: BrowserType, *flags: str) -> Browser:
    """A browser with these flags. It has no sandbox, so that root can run it: it only opens our own pages."""
    return kind.launch(executable_path=os.environ["FOLDCLI_CHROMIUM"], args=[*flags, "--no-sandbox"])


def opened(browser: Browser, file: Path, width: int, height: int, dark: bool = False) -> Page:
    """A file opened in a window without network."""
    context = browser.new_context(
        viewport={"width": width, "height": height}, color_scheme="dark" if dark else "light", offline=True
    )
    page = context.new_page()
    page.set_default_timeout(20_000)
    page.goto(file.resolve().as_uri())
    return page


def wait_until_drawn(page: Page) -> None:
    """Wait until a report has drawn its structure, and its PAE map if it has one."""
    page.wait_for_selector("body[aria-busy=false]")  # the page's policy forbids a function that polls
