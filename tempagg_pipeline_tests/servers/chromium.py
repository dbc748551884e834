"""A real browser: Debian's Chromium, driven by Playwright."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from tempagg_pipeline_tests.servers.required import require

if TYPE_CHECKING:
    from playwright.sync_api import Page

CHROMIUM = Path("/usr/bin/chromium")
_PATIENCE_MS = 120_000


@contextmanager
def chromium_page(width: int = 1280, height: int = 800) -> Iterator["Page"]:
    """A page in a browser of its own; ended with the context.

    Skips the test, or fails it where all parts are required, when Chromium is not installed.
    """
    require(CHROMIUM.exists(), f"{CHROMIUM} is not installed; Debian's package chromium has it")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        # Root has no sandbox, and a container little shared memory.
        arguments = ["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"]
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=arguments)
        try:
            page = browser.new_page(viewport={"width": width, "height": height})
            page.set_default_timeout(_PATIENCE_MS)
            yield page
        finally:
            browser.close()
