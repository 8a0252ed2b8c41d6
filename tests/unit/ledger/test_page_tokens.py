from __future__ import annotations

import base64

import pytest

from agent_executor.errors import InvalidArgumentError
from agent_executor.ledger import page_tokens

QUESTION = ("entries", "acme")


def test_the_empty_token_is_the_first_page() -> None:
    assert page_tokens.decode(QUESTION, "") == ("", 0)


def test_the_longest_token_is_within_the_contract() -> None:
    token = page_tokens.encode(QUESTION, "\x01" * 256, 2**31)
    assert len(token) <= 512
    assert page_tokens.decode(QUESTION, token) == ("\x01" * 256, 2**31)


@pytest.mark.parametrize(
    "token",
    [
        "x",
        "é",
        "====",
        "not base64!",
        page_tokens.encode(("entries", "other"), "row"),
        page_tokens.encode(QUESTION, "row")[:-2],
        page_tokens.encode(QUESTION, "row") + "AA",
        page_tokens.encode(QUESTION, ""),
        page_tokens.encode(QUESTION, "row", -1),
        page_tokens.encode(QUESTION, "row", 2**63),
        page_tokens.encode(QUESTION, "\0"),
        base64.urlsafe_b64encode(b"\x93\x01\x02\x03").decode(),
    ],
)
def test_a_token_that_was_not_given_out_is_refused(token: str) -> None:
    with pytest.raises(InvalidArgumentError) as refused:
        page_tokens.decode(QUESTION, token)
    assert refused.value.field_violations[0][0] == "page_token"


@pytest.mark.parametrize("row", ["", "7", "7 8 9", "7 x", f"7 {2**63}", f"{-(2**63)} 8"])
def test_a_row_that_is_not_made_of_numbers_a_database_holds_is_refused(row: str) -> None:
    assert page_tokens.numbers(f"7 -{2**63 - 1}", 2) == [7, 1 - 2**63]
    with pytest.raises(InvalidArgumentError) as refused:
        page_tokens.numbers(row, 2)
    assert refused.value.field_violations[0][0] == "page_token"


def test_page_sizes() -> None:
    assert page_tokens.page_size_of(0) == 100
    assert page_tokens.page_size_of(1_000) == 1_000
