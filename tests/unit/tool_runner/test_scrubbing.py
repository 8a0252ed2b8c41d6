from __future__ import annotations

import base64
import json
import time
from urllib.parse import quote, quote_plus

import pytest

from agent_executor.tool_runner.credentials.scrubbing import MASK, scrub
from agent_executor.tool_runner.credentials.secret import Secret

VALUE = 's3cr/et "key" +ü~'
SECRET = Secret(VALUE)


@pytest.mark.parametrize(
    "form",
    [
        VALUE,
        json.dumps(VALUE)[1:-1],
        json.dumps(VALUE, ensure_ascii=False)[1:-1],
        quote(VALUE),
        quote(VALUE, safe=""),
        quote(VALUE, safe="")
        .replace("%C3%BC", "%c3%bc")
        .replace("%2F", "%2f")
        .replace("%2B", "%2b"),
        quote_plus(VALUE),
        VALUE.encode().hex(),
        VALUE.encode().hex().upper(),
    ],
)
def test_no_form_of_a_secret_is_left(form: str) -> None:
    assert scrub(f"before {form} after", [SECRET]) == f"before {MASK} after"


@pytest.mark.parametrize("before", ["", "u", "us", "use", "\0user\0"])
@pytest.mark.parametrize("encode", [base64.b64encode, base64.urlsafe_b64encode])
def test_a_secret_is_found_in_base64_wherever_it_begins(before: str, encode: object) -> None:
    assert callable(encode)
    text = encode(f"{before}{VALUE}:after".encode()).decode()
    scrubbed = scrub(text, [SECRET])
    assert MASK in scrubbed
    assert len(scrubbed) < len(text)


def test_secrets_that_overlap_are_masked_together() -> None:
    secrets = [Secret("abcdefgh"), Secret("efghijkl"), Secret("abcdefghijklmnop")]
    assert scrub("x abcdefghijkl y abcdefghijklmnop z", secrets) == f"x {MASK} y {MASK} z"


def test_a_short_secret_is_masked_only_where_it_is_all() -> None:
    assert scrub("abc", [Secret("abc")]) == MASK
    assert scrub("abc and more", [Secret("abc")]) == "abc and more"
    assert scrub("", [Secret("")]) == ""


def test_a_text_without_secrets_is_as_it_was() -> None:
    assert scrub("nothing here", [SECRET]) == "nothing here"
    assert scrub("nothing here", []) == "nothing here"


def test_the_time_is_linear() -> None:
    def seconds(length: int) -> float:
        text = "ab" * (length // 2)
        started = time.thread_time()
        scrub(text, [Secret("ab" * 500 + "c"), Secret("a" * 1_000)])
        return time.thread_time() - started

    seconds(1_000)
    assert min(seconds(1_000_000) for _ in range(3)) < 40 * min(seconds(50_000) for _ in range(5))
