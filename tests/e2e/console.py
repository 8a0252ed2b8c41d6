"""The console in a browser: signing in, and what a page must not do whatever it is shown."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from playwright.sync_api import Browser, Page, WebSocketRoute, expect

from tests.browser import Complaints, opened_page
from tests.platforms import Client

WIDE = {"width": 1600, "height": 900}
NARROW = {"width": 380, "height": 780}

# Whoever shares a few busy cores waits longer than a person would.
expect.set_options(timeout=60_000)

# Whatever the policy refuses is told to the page, which keeps it where a test finds it.
_WATCH_POLICY = """
window.violations = [];
addEventListener("securitypolicyviolation", (event) =>
  window.violations.push(`${event.violatedDirective} ${event.blockedURI}`));
"""


@contextlib.contextmanager
def console(
    browser: Browser,
    client: Client,
    path: str = "",
    prepare: Callable[[Page], None] = lambda page: None,
    **options: Any,
) -> Iterator[tuple[Page, Complaints]]:
    """Opens the console, signed in with the client's token, at a path after the `#`.

    At the end nothing may have gone wrong: no error, no request to elsewhere, nothing refused by the
    page's policy.

    Args:
        browser: The browser.
        client: Who signs in, and where.
        path: The path.
        prepare: Is given the page before it goes anywhere.
        options: Of the browser's context.
    """
    origin = f"http://127.0.0.1:{client.port}"
    with opened_page(browser, origin, **{"viewport": WIDE, **options}) as (page, complaints):
        page.add_init_script(_WATCH_POLICY)
        prepare(page)
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


@dataclass
class Connections:
    """The live connections of a page, which a test can break.

    Attributes:
        addresses: Of all of them, the latest last.
    """

    addresses: list[str] = field(default_factory=list)
    _open: list[WebSocketRoute] = field(default_factory=list)
    _is_broken: bool = False

    def watch(self, page: Page) -> None:
        """Stands between the page and the server from now on."""
        page.route_web_socket(re.compile("/api/v1/monitor"), self._connect)

    def break_all(self) -> None:
        """Ends the connections, and every one that is tried."""
        self._is_broken = True
        for connection in self._open:
            connection.close(code=1012)
        self._open.clear()

    def mend(self) -> None:
        """Lets connections through again."""
        self._is_broken = False

    def _connect(self, connection: WebSocketRoute) -> None:
        self.addresses.append(connection.url)
        if self._is_broken:
            connection.close(code=1012)
            return
        connection.connect_to_server()
        self._open.append(connection)
