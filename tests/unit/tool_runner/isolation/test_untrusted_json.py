from __future__ import annotations

from typing import Any

import pytest

from agent_executor.tool_runner.isolation.untrusted_json import (
    CONTAINERS_MAX,
    DEPTH_MAX,
    JsonError,
    parse,
    parse_object,
)


@pytest.mark.parametrize(
    ("payload", "value"),
    [
        (b"null", None),
        ('["é", "\\u00e9", "[[["]'.encode(), ["é", "é", "[[["]),
        (b'{"a": [1, -2.5e3, true]}', {"a": [1, -2500.0, True]}),
        (b"9" * 4300, int("9" * 4300)),
        (b"[" * DEPTH_MAX + b"]" * DEPTH_MAX, None),
        (b'"' + b"[" * 1000 + b'"', "[" * 1000),
        (b'["' + b"[" * CONTAINERS_MAX + b'"]', ["[" * CONTAINERS_MAX]),
        (b"[" + b"[]," * (CONTAINERS_MAX - 2) + b"[]]", [[]] * (CONTAINERS_MAX - 1)),
        (b'"\\ud83d\\ude00"', "\U0001f600"),
    ],
)
def test_json_is_read(payload: bytes, value: Any) -> None:
    parsed = parse(payload)
    assert value is None or parsed == value


@pytest.mark.parametrize(
    ("payload", "message"),
    [
        (b"", "not JSON"),
        (b"{", "not JSON"),
        (b"1 2", "not JSON"),
        (b"\xff", "not Unicode"),
        (b'"\\ud83d"', "not Unicode"),
        (b'{"\\udc00": 1}', "not Unicode"),
        (b"NaN", "NaN"),
        (b"[-Infinity]", "-Infinity"),
        (b"1e999", "too large"),
        (b"9" * 4301, "4300 digits"),
        (b"[" * (DEPTH_MAX + 1) + b"]" * (DEPTH_MAX + 1), "levels deep"),
        (b'{"a":' * 100_000, "levels deep"),
        (b"[" * 1_000_000, "levels deep"),
        (b"[" + b'[],{},"[",' * (CONTAINERS_MAX // 2) + b"0]", "100000 lists and objects"),
    ],
)
def test_what_is_not_accepted_says_why(payload: bytes, message: str) -> None:
    with pytest.raises(JsonError, match=message):
        parse(payload)


@pytest.mark.parametrize("payload", [b"[]", b"null", b'"a"', b"1"])
def test_only_an_object_is_an_object(payload: bytes) -> None:
    assert parse_object(b'{"a": 1}') == {"a": 1}
    with pytest.raises(JsonError, match="not a JSON object"):
        parse_object(payload)
