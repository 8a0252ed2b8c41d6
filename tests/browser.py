"""A headless Chromium for tests, where there is one; and what a page did that it must not do."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest
from playwright.sync_api import Browser, ConsoleMessage, Error, Page, Request, sync_playwright

CHROMIUM = shutil.which("chromium")

needs_chromium = pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed")

_ARGUMENTS = [
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
]
_TIMEOUT_MILLISECONDS = 60_000
# Addresses that name no host.
_WITHOUT_HOST = ("data:", "blob:", "about:")


@dataclass
class Complaints:
    """What a page complained of, and what it asked of other origins."""

    origin: str
    errors: list[str] = field(default_factory=list)
    foreign: list[str] = field(default_factory=list)

    def watch(self, page: Page) -> None:
        """Listens to the page from now on."""
        page.on("console", self._on_console)
        page.on("pageerror", self._on_error)
        page.on("request", self._on_request)

    def _on_console(self, message: ConsoleMessage) -> None:
        if message.type == "error":
            self.errors.append(message.text)

    def _on_error(self, error: Error) -> None:
        self.errors.append(str(error))

    def _on_request(self, request: Request) -> None:
        if not request.url.startswith((f"{self.origin}/", *_WITHOUT_HOST)):
            self.foreign.append(request.url)


@contextlib.contextmanager
def running_browser() -> Iterator[Browser]:
    """Starts a browser with an empty profile."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=_ARGUMENTS)
        try:
            yield browser
        finally:
            browser.close()


@contextlib.contextmanager
def opened_page(
    browser: Browser, origin: str, **options: object
) -> Iterator[tuple[Page, Complaints]]:
    """Opens an empty page.

    Args:
        browser: The browser.
        origin: Where the page may go, as `http://127.0.0.1:8080`.
        options: Of the browser's context: `viewport`, `color_scheme`.
    """
    context = browser.new_context(**options)  # type: ignore[arg-type]  # one of many, by name
    try:
        page = context.new_page()
        page.set_default_timeout(_TIMEOUT_MILLISECONDS)
        complaints = Complaints(origin)
        complaints.watch(page)
        yield page, complaints
    finally:
        context.close()
