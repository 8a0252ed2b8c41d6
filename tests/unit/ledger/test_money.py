from __future__ import annotations

import ast
import inspect
import math

import pytest

from agent_executor.errors import InvalidArgumentError
from agent_executor.ledger import money
from agent_executor.ledger.accounting import entry, token_usage
from agent_executor.ledger.money import (
    NanoUsd,
    PicoUsd,
    ceil_to_nano_usd,
    format_usd,
    from_usd,
    round_to_nano_usd,
    to_usd,
)
from agent_executor.ledger.prices import genai_price_list, rate_card


@pytest.mark.parametrize(
    ("pico", "nano"),
    [(0, 0), (499, 0), (500, 0), (501, 1), (1_499, 1), (1_500, 2), (2_500, 2), (2_501, 3)],
)
def test_a_cost_is_rounded_half_to_even(pico: int, nano: int) -> None:
    assert round_to_nano_usd(PicoUsd(pico)) == nano


@pytest.mark.parametrize(("pico", "nano"), [(0, 0), (1, 1), (1_000, 1), (1_001, 2)])
def test_a_hold_is_rounded_up(pico: int, nano: int) -> None:
    assert ceil_to_nano_usd(PicoUsd(pico)) == nano


def test_dollars_at_the_edge() -> None:
    assert to_usd(NanoUsd(100_000)) == 0.0001
    assert from_usd(0.1) == 100_000_000
    assert from_usd(9_000_000) == 9_000_000 * 10**9
    # The double nearest to 2.0000000005 is a little less; what was written is a half.
    assert from_usd(2.0000000005) == 2_000_000_000


@pytest.mark.parametrize("amount", [-0.01, 9_000_000.01, math.nan, math.inf, -math.inf])
def test_dollars_that_cannot_be_are_refused(amount: float) -> None:
    with pytest.raises(InvalidArgumentError):
        from_usd(amount)


@pytest.mark.parametrize(
    ("nano", "text"),
    [
        (0, "$0.00"),
        (1, "$0.000000001"),
        (10_500_000, "$0.0105"),
        (-1_500_000_000, "-$1.50"),
        (12 * 10**9, "$12.00"),
    ],
)
def test_dollars_in_a_sentence(nano: int, text: str) -> None:
    assert format_usd(nano) == text


@pytest.mark.parametrize("module", [entry, genai_price_list, rate_card, token_usage, money])
def test_no_float_takes_part_in_pricing(module: object) -> None:
    edges = {"to_usd", "from_usd"}
    tree = ast.parse(inspect.getsource(module))  # type: ignore[arg-type]  # a module
    functions = [
        node for node in tree.body if not (isinstance(node, ast.FunctionDef) and node.name in edges)
    ]
    for node in (inner for function in functions for inner in ast.walk(function)):
        assert not isinstance(node, ast.Div), "true division makes a float"
        assert not (isinstance(node, ast.Constant) and isinstance(node.value, float))
        assert not (isinstance(node, ast.Name) and node.id in {"float", "round"})
