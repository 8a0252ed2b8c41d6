"""The console in a browser: signing in, and what a page must not do whatever it is shown."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

from playwright.sync_api import Browser, Page, expect

from tests.browser import Complaints, opened_page
from tests.platforms import Client

WIDE = {"width": 1600, "height": 900}
NARROW = {"width": 380, "height": 780}

# Whatever the policy refuses is told to the page, which keeps it where a test finds it.
_WATCH_POLICY = """
window.violations = [];
addEventListener("securitypolicyviolation", (event) =>
  window.violations.push(`${event.violatedDirective} ${event.blockedURI}`));
"""


@contextlib.contextmanager
def console(
    browser: Browser, client: Client, path: str = "", **options: Any
) -> Iterator[tuple[Page, Complaints]]:
    """Opens the console, signed in with the client's token, at a path after the `#`.

    At the end nothing may have gone wrong: no error, no request to elsewhere, nothing refused by the
    page's policy.
    """
    origin = f"http://127.0.0.1:{client.port}"
    with opened_page(browser, origin, **{"viewport": WIDE, **options}) as (page, complaints):
        page.add_init_script(_WATCH_POLICY)
        page.goto(f"{origin}/console/#{path}")
        sign_in(page, client.token)
        yield page, complaints
        assert page.evaluate("window.violations") == []
        assert complaints.errors == []
        assert complaints.foreign == []


def sign_in(page: Page, key: str) -> None:
    """Signs in by the keyboard: the field has the focus."""
    expect(page.get_by_label("API key or token")).to_be_focused()
    page.keyboard.insert_text(key)
    page.keyboard.press("Enter")
    expect(page.get_by_role("navigation")).to_be_visible()


def is_live(page: Page) -> None:
    """Waits until the page is told what happens."""
    expect(page.locator(".live")).to_have_text("Live")
