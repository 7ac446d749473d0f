"""A screenshot of a job's report: `python -m tests.report.picture results/1UBQ examples/report.png`."""

import sys
from pathlib import Path

from tests.report.browser import chromium, opened, wait_until_drawn

WIDTH, HEIGHT = 1280, 780


def take(job: Path, picture: Path) -> None:
    """Write a screenshot of a job's report in a laptop-sized window."""
    with chromium() as browser:
        page = opened(browser, job / "report.html", WIDTH, HEIGHT)
        wait_until_drawn(page)
        page.screenshot(path=picture)


if __name__ == "__main__":
    take(*map(Path, sys.argv[1:3]))
