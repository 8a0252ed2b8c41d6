from __future__ import annotations

from typing import Any

import pytest

from agent_executor.errors import InvalidArgumentError
from agent_executor.ledger.accounting.token_usage import MAX_TOKENS, TokenUsage


def test_the_classes_add_up() -> None:
    usage = TokenUsage(1, 20, 300, 4_000, 50_000)
    assert usage.total_input_tokens == 54_301
    assert usage.tokens_used == 54_321


@pytest.mark.parametrize("count", [-1, MAX_TOKENS + 1, 1.0, True, "1", None])
@pytest.mark.parametrize("name", TokenUsage.__struct_fields__)
def test_counts_that_cannot_be_are_refused(name: str, count: Any) -> None:
    with pytest.raises(InvalidArgumentError) as refused:
        TokenUsage(**{name: count})
    assert refused.value.field_violations[0][0] == name


def test_the_largest_count_is_admitted() -> None:
    assert TokenUsage(output_tokens=MAX_TOKENS).tokens_used == MAX_TOKENS
