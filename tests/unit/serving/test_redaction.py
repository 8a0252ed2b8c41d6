from __future__ import annotations

import json
import time

import pytest

from agent_executor.serving.redaction import (
    CONTENT_MAX_CHARS,
    REDACTED,
    cut,
    json_text,
    redacted_json,
    redacted_names,
    redacted_text,
)


@pytest.mark.parametrize(
    "secret",
    [
        "Bearer abcdefgh12345678",
        "bEaReR   abcdefgh12345678",
        "eyJhbGciOiJFUzI1NiJ9.eyJzdWIiOiJhIn0.c2lnbmF0dXJl",
        "sk-ant-api03-abcdefghijklmnop",
        f"aek_{'7' * 48}",
        f"aes_{'7' * 48}",
    ],
)
def test_what_looks_like_a_credential_is_hidden(secret: str) -> None:
    assert redacted_text(f"say '{secret}' to them") == f"say '{REDACTED}' to them"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("redis://:swordfish@cache:6379/0", f"redis://{REDACTED}@cache:6379/0"),
        ("to postgresql://ada:s:w%40@db/x.", f"to postgresql://{REDACTED}@db/x."),
        ("http://127.0.0.1:8080/@x, me@example.org", "http://127.0.0.1:8080/@x, me@example.org"),
    ],
)
def test_who_a_url_signs_in_as_is_hidden(text: str, shown: str) -> None:
    assert redacted_text(text) == shown


@pytest.mark.parametrize("text", ["", "a task-1 of a bearer of news", "What is 15 + 27?", "Ä eyJ"])
def test_other_texts_stay_as_they_are(text: str) -> None:
    assert redacted_text(text) == text


def test_values_are_hidden_by_their_names_at_any_depth() -> None:
    value = {"query": "x", "headers": [{"Authorization": "opensesame", "accept": "*/*"}]}
    shown = json.loads(redacted_json(json.dumps(value)))
    assert shown == {"query": "x", "headers": [{"Authorization": REDACTED, "accept": "*/*"}]}


def test_what_is_no_json_is_a_text() -> None:
    assert redacted_json("Bearer abcdefgh12345678, {") == f"{REDACTED}, {{"


def test_a_long_text_is_cut_and_says_so() -> None:
    assert cut("x" * CONTENT_MAX_CHARS) == "x" * CONTENT_MAX_CHARS
    assert cut("x" * (CONTENT_MAX_CHARS + 5)).endswith("x... [5 more characters]")


def test_a_text_that_is_made_to_be_slow_is_not() -> None:
    started = time.process_time()
    redacted_text("bearer " + "bearer eyJ.sk-://a:" * 20_000)
    assert time.process_time() - started < 5.0


@pytest.mark.parametrize(
    "name", ["x-api-key", "apiKey", "PRIVATE-KEY", "accessToken", "refresh-token", "Set-Cookie"]
)
def test_names_are_known_however_they_are_spelled(name: str) -> None:
    assert json.loads(redacted_json(json.dumps({name: "opensesame"}))) == {name: REDACTED}


@pytest.mark.parametrize("name", ["max_tokens", "tokens", "input_tokens", "key", "tokenizer"])
def test_names_that_only_resemble_them_are_not_secret(name: str) -> None:
    assert json.loads(redacted_json(json.dumps({name: 7}))) == {name: 7}


@pytest.mark.parametrize("depth", [100, 900, 100_000])
def test_what_is_nested_deeply_is_shown_without_its_depth(depth: int) -> None:
    text = redacted_json('{"a":' * depth + '{"token": "opensesame"}' + "}" * depth)
    assert text.startswith('{"a":')
    assert depth == 100_000 or "opensesame" not in text


def test_what_holds_itself_is_shown_without_its_depth() -> None:
    value: dict[str, object] = {}
    value["itself"] = [value]
    assert "nested too deeply" in str(redacted_names(value))


def test_half_a_character_is_shown_as_json_has_it() -> None:
    assert redacted_json('{"a": "\ud800", ') == '{"a": "\ud800", '
    assert json_text({"a": "\ud800"}) == '{"a": "\\ud800"}'
