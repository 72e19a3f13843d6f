"""The system's Chromium: where it is, and how the tests start it. `scripts/browser` installs it where it may."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Browser

NAMES = ("chromium", "chromium-browser", "google-chrome-stable", "google-chrome", "chrome")
MAC = ("Google Chrome", "Chromium")
MISSING = (
    "BROWSER MISSING: no Chromium or Chrome was found, so nothing in tests/browser was tested. "
    "Install one (Debian, as root: apt-get install chromium) or name it in COUNTERSIGN_CHROMIUM."
)


def path() -> str | None:
    """Where the browser is: COUNTERSIGN_CHROMIUM, or the first of the usual names; None when there is none."""
    named = os.environ.get("COUNTERSIGN_CHROMIUM")
    if named:
        return named
    for name in NAMES:
        found = shutil.which(name)
        if found:
            return found
    applications = (f"/Applications/{name}.app/Contents/MacOS/{name}" for name in MAC)
    return next((place for place in applications if Path(place).exists()), None)


@contextmanager
def running() -> Iterator[Browser]:
    """A headless browser. The test fails where there is none: what was not looked at must not seem fine."""
    from playwright.sync_api import sync_playwright

    found = path()
    if found is None:
        pytest.fail(MISSING, pytrace=False)
    # Chromium's own sandbox does not work for root, and in containers shared memory is too small for it.
    flags = ["--disable-dev-shm-usage", *(["--no-sandbox"] if os.geteuid() == 0 else [])]
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=found, args=flags)
        try:
            yield browser
        finally:
            browser.close()


def tell_missing(terminalreporter: Any) -> None:
    """Says at the end of a run that the browser was missing, when tests wanted one."""
    wanted = any(
        report.nodeid.startswith("tests/browser/")
        for reports in terminalreporter.stats.values()
        for report in reports
        if hasattr(report, "nodeid")
    )
    if wanted and path() is None:
        terminalreporter.write_line(MISSING, red=True)
