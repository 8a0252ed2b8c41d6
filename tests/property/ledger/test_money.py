from __future__ import annotations

from decimal import ROUND_CEILING, ROUND_HALF_EVEN, Decimal

from hypothesis import given
from hypothesis import strategies as st

from agent_executor.ledger.money import (
    NANO_USD_PER_USD,
    NanoUsd,
    PicoUsd,
    ceil_to_nano_usd,
    format_usd,
    from_usd,
    round_to_nano_usd,
    to_usd,
)

picos = st.integers(0, 10**24).map(PicoUsd)


@given(picos)
def test_rounding_is_that_of_decimal(pico: PicoUsd) -> None:
    exact = Decimal(pico).scaleb(-3)
    assert round_to_nano_usd(pico) == int(exact.to_integral_value(ROUND_HALF_EVEN))
    assert ceil_to_nano_usd(pico) == int(exact.to_integral_value(ROUND_CEILING))


@given(picos)
def test_rounding_is_off_by_half_a_nano_dollar_at_most(pico: PicoUsd) -> None:
    assert abs(1_000 * round_to_nano_usd(pico) - pico) <= 500
    assert 0 <= 1_000 * ceil_to_nano_usd(pico) - pico < 1_000


@given(st.integers(0, 2**23 * NANO_USD_PER_USD).map(NanoUsd))
def test_dollars_lose_nothing(nano: NanoUsd) -> None:
    assert from_usd(to_usd(nano)) == nano


@given(st.integers(-(10**18), 10**18))
def test_a_sentence_loses_nothing(nano: int) -> None:
    assert Decimal(format_usd(nano).replace("$", "")) == Decimal(nano).scaleb(-9)
