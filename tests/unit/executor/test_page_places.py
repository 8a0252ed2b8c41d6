"""Page tokens of conversations and approvals are ours, whatever they hold."""

from __future__ import annotations

import base64

import pytest

from agent_executor.errors import InvalidArgumentError
from agent_executor.executor.paging import decode_place, encode_place


@pytest.mark.parametrize("conversation_id", ["c", 'é/"\\?', "\U0001f600" * 32])
def test_a_token_names_its_place(conversation_id: str) -> None:
    token = encode_place(2_000, conversation_id)
    assert token.isascii()
    assert len(token) <= 512
    assert decode_place(token) == (2_000, conversation_id)


def test_no_token_is_the_beginning() -> None:
    assert decode_place("") is None


@pytest.mark.parametrize(
    "token",
    [
        "x",
        "é",
        "====",
        *(
            base64.urlsafe_b64encode(text).decode()
            for text in (b"[]", b'["a",1]', b"[1]", b"{}", b"\xff", b'[1,"a",2]')
        ),
        # What no database holds.
        *(
            base64.urlsafe_b64encode(text).decode()
            for text in (b'[1,"\\u0000"]', b'[9223372036854775808,"a"]', b'[-1,"a"]')
        ),
    ],
)
def test_any_other_token_is_refused(token: str) -> None:
    with pytest.raises(InvalidArgumentError) as refused:
        decode_place(token)
    assert refused.value.field_violations[0][0] == "page_token"
