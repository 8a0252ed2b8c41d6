from __future__ import annotations

import base64
import json
from urllib.parse import quote, quote_plus

from hypothesis import given
from hypothesis import strategies as st

from agent_executor.tool_runner.credentials.scrubbing import MASK, SECRET_CHARACTERS_MIN, scrub
from agent_executor.tool_runner.credentials.secret import Secret

# As a vault takes them: no control characters. Without the mask's own, of which no text is free.
CHARACTERS = st.characters(exclude_categories=["Cs", "Cc"], exclude_characters="*")
VALUES = st.text(CHARACTERS, min_size=SECRET_CHARACTERS_MIN, max_size=40)
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=60)


@given(VALUES, TEXTS, TEXTS)
def test_no_form_of_a_secret_survives(value: str, before: str, after: str) -> None:
    forms = [
        value,
        json.dumps(value)[1:-1],
        json.dumps(value, ensure_ascii=False)[1:-1],
        quote(value, safe=""),
        quote(value),
        quote_plus(value),
        value.encode().hex(),
        base64.b64encode(value.encode()).decode().rstrip("="),
    ]
    for form in forms:
        scrubbed = scrub(before + form + after, [Secret(value)])
        assert form not in scrubbed.replace(MASK, "*")
        assert MASK in scrubbed


@given(VALUES, st.binary(max_size=20), st.binary(max_size=20), st.booleans())
def test_what_base64_holds_no_longer_holds_the_secret(
    value: str, before: bytes, after: bytes, url_safe: bool
) -> None:
    encode = base64.urlsafe_b64encode if url_safe else base64.b64encode
    text = encode(before + value.encode() + after).decode()
    scrubbed = scrub(text, [Secret(value)])
    assert MASK in scrubbed
    # What is left decodes to less than the secret, but for the bits at its ends.
    left = scrubbed.replace(MASK, "")
    assert len(left) * 6 // 8 <= len(before) + len(after) + 4


@given(
    st.text("abcdefghijklm /+é", min_size=SECRET_CHARACTERS_MIN, max_size=40),
    st.text("ΑΒΓΔ*\n", max_size=60),
)
def test_a_text_of_other_characters_is_unchanged(value: str, text: str) -> None:
    assert scrub(text, [Secret(value)]) == text


@given(VALUES, st.integers(min_value=0))
def test_a_secret_without_one_of_its_characters_is_none(value: str, index: int) -> None:
    index %= len(value)
    text = value[:index] + "*" + value[index + 1 :]
    assert scrub(text, [Secret(value)]) == text


@given(st.lists(VALUES, max_size=4), TEXTS)
def test_scrubbing_twice_changes_nothing_more(values: list[str], text: str) -> None:
    secrets = [Secret(value) for value in values]
    once = scrub(text + "".join(values), secrets)
    assert scrub(once, secrets) == once
