"""The documentation page in a real browser: it works alone, and executes a call."""

from __future__ import annotations

import gzip
import hashlib
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from agent_executor.web import docs
from tests.browser import needs_chromium, opened_page, running_browser
from tests.platforms import Client, RunningPlatform

VIEWER = Path(docs.__file__).parent / "viewer" / "scalar.js.gz"
VIEWER_SHA256 = "dcb027152bf20bf2f6dcd66e8f9fb073c1a9e274cf0b94b939a7d99ab8947060"


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with running_browser() as running:
        yield running


def show(page: Page, origin: str, fragment: str = "") -> None:
    page.goto(f"{origin}/docs{fragment}")
    expect(page.get_by_role("heading", name="Agent Executor", exact=True)).to_be_visible()


@needs_chromium
def test_a_call_is_executed_from_the_page(
    platform: RunningPlatform, client: Client, browser: Browser
) -> None:
    origin = f"http://127.0.0.1:{platform.http_port}"
    with opened_page(browser, origin, viewport={"width": 1280, "height": 900}) as (
        page,
        complaints,
    ):
        show(page, origin)
        page.get_by_placeholder("Token").first.fill(client.token)
        page.get_by_role("button", name=re.compile("Test Request.*post", re.DOTALL)).first.click()
        with page.expect_response(re.compile("/api/v1/agents$")) as answered:
            page.get_by_role("button", name=re.compile("^Send")).first.click()
        # What the example of the document asks for is what there is now, and is shown.
        (agent,) = client.get("/api/v1/agents").body["agents"]
        assert agent["name"] == "Test Agent"
        assert answered.value.json()["id"] == agent["id"]
        expect(page.get_by_text("200 OK").first).to_be_visible()
        assert complaints.errors == []
        assert complaints.foreign == []


@needs_chromium
@pytest.mark.parametrize(("scheme", "width"), [("dark", 1280), ("light", 420)])
def test_it_is_readable_in_either_light_and_on_a_narrow_screen(
    platform: RunningPlatform, browser: Browser, scheme: str, width: int
) -> None:
    origin = f"http://127.0.0.1:{platform.http_port}"
    size = {"width": width, "height": 800}
    with opened_page(browser, origin, color_scheme=scheme, viewport=size) as (page, complaints):
        show(page, origin)
        red, green, blue = map(
            int,
            re.findall(
                r"\d+",
                page.evaluate("getComputedStyle(document.querySelector('h1')).color"),
            )[:3],
        )
        assert (red + green + blue > 3 * 128) == (scheme == "dark")
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        assert complaints.errors == []
        assert complaints.foreign == []


def test_it_needs_no_token_and_lets_no_other_origin_in(platform: RunningPlatform) -> None:
    answer = platform.client("").get("/docs")
    assert answer.status == 200
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    policy = answer.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "script-src 'self';" in policy
    assert "connect-src 'self'" in policy
    assert "frame-ancestors 'none'" in policy
    assert b"//" not in answer.content.replace(b"</", b"")


def test_a_browser_asks_only_for_what_has_changed(platform: RunningPlatform) -> None:
    client = platform.client("")
    answer = client.get("/docs/viewer.js")
    assert answer.headers["content-encoding"] == "gzip"
    content = gzip.decompress(answer.content)
    again = client.call("GET", "/docs/viewer.js", headers={"if-none-match": answer.headers["etag"]})
    assert (again.status, again.content) == (304, b"")
    assert hashlib.sha256(content).hexdigest() == VIEWER_SHA256


def test_what_is_not_there_is_told_in_the_shape_of_every_error(platform: RunningPlatform) -> None:
    client = platform.client("")
    missing = client.get("/docs/nothing")
    assert (missing.status, missing.body["code"]) == (404, "NOT_FOUND")
    wrong = client.post("/docs", {})
    assert (wrong.status, wrong.body["code"]) == (405, "INVALID_ARGUMENT")
    assert "GET" in wrong.headers["allow"]
    assert missing.body.keys() == {"success", "error", "tool_name", "code", "timestamp"}
