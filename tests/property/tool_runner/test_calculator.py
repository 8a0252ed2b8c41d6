"""The calculator against exact fractions, and against Decimal with many more digits."""

from __future__ import annotations

from decimal import ROUND_HALF_EVEN, Context, Decimal, localcontext
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from agent_executor.tool_runner.builtin.calculator import CalculatorTool

TOOL = CalculatorTool()
WIDE = Context(prec=3_000, rounding=ROUND_HALF_EVEN, Emax=99_999, Emin=-99_999)

PLACES = st.integers(0, 100)
NUMBERS = st.builds(
    lambda sign, digits, exponent: f"{sign}{digits}e{exponent}",
    st.sampled_from(["", "-"]),
    st.integers(0, 10**40),
    st.integers(-60, 60),
)


def calculate(operation: str, **arguments: Any) -> tuple[Decimal | None, str]:
    answer = TOOL.execute({"operation": operation, **arguments})
    if not answer["success"]:
        return None, answer["code"]
    result = answer["result"]["result"]
    assert type(result) in {int, float, str}
    return Decimal(result if isinstance(result, str) else repr(result)), ""


def rounded(exact: Fraction, places: int) -> Decimal:
    """Rounds half to even, as ``round`` of a Fraction does."""
    scaled = round(exact * 10**places)
    with localcontext(WIDE):
        return Decimal(scaled).scaleb(-places)


@given(NUMBERS, NUMBERS, PLACES)
@example("1e60", "1e-60", 100)
@example("5e-1", "0e0", 0)
def test_sums_differences_and_products_are_exact_and_rounded_once(
    a: str, b: str, places: int
) -> None:
    x, y = Fraction(Decimal(a)), Fraction(Decimal(b))
    for operation, exact in (("add", x + y), ("subtract", x - y), ("multiply", x * y)):
        result, _ = calculate(operation, a=a, b=b, precision=places)
        assert result == rounded(exact, places)
    result, _ = calculate("percent", a=a, b=b, precision=places)
    assert result == rounded(x * y / 100, places)
    result, _ = calculate("percent", a=a, precision=places)
    assert result == rounded(x / 100, places)


@given(NUMBERS, NUMBERS, PLACES)
@example("1e0", "8e0", 2)
@example("-1e0", "8e0", 2)
@example("1e-60", "3e60", 100)
@example("14996e-4", "1e0", 0)
def test_quotients_are_rounded_once(a: str, b: str, places: int) -> None:
    result, code = calculate("divide", a=a, b=b, precision=places)
    if not Decimal(b):
        assert (result, code) == (None, "INVALID_ARGUMENT")
    else:
        assert result == rounded(Fraction(Decimal(a)) / Fraction(Decimal(b)), places)


@given(
    st.integers(-(10**12), 10**12).filter(bool), st.integers(0, 12), st.integers(-60, 60), PLACES
)
@example(100000000000025, 14, 2, 13)
def test_whole_powers_are_exact_and_rounded_once(
    digits: int, shift: int, exponent: int, places: int
) -> None:
    a = Decimal(digits).scaleb(-shift)
    exact = Fraction(a) ** exponent
    result, code = calculate("power", a=str(a), b=exponent, precision=places)
    if abs(exact) >= 10**309:
        assert (result, code) == (None, "LIMIT_EXCEEDED")
    else:
        assert result == rounded(exact, places)


@given(
    st.decimals("1e-20", "1e20", allow_nan=False),
    st.decimals("-12", "12", allow_nan=False, places=15),
    st.integers(0, 60),
)
def test_fractional_powers_are_as_with_many_more_digits(
    a: Decimal, b: Decimal, places: int
) -> None:
    result, _ = calculate("power", a=str(a), b=str(b), precision=places)
    reference = WIDE.copy()
    reference.prec = 500
    expected = WIDE.quantize(reference.power(a, b), Decimal(1).scaleb(-places))
    assert result == expected


@given(NUMBERS, PLACES)
@example("25e-2", 0)
# Just below half of the last place, which only twice the digits can tell from a half.
@example("1" + "0" * 99 + "3e-100", 100)
@example("10000000000000000000000000000000000000001e0", 20)
def test_square_roots_are_the_nearest_decimal(a: str, places: int) -> None:
    result, code = calculate("sqrt", a=a, precision=places)
    x = Fraction(Decimal(a))
    if x < 0:
        assert (result, code) == (None, "INVALID_ARGUMENT")
        return
    assert result is not None
    half = Fraction(1, 2 * 10**places)
    root = Fraction(result)
    assert max(root - half, Fraction(0)) ** 2 <= x <= (root + half) ** 2


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.decimals(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)


@given(
    st.dictionaries(
        st.sampled_from(["operation", "a", "b", "precision"]) | st.text(),
        st.sampled_from(["add", "divide", "power", "sqrt", "percent"]) | NUMBERS | ANYTHING,
    )
)
def test_whatever_it_is_given_it_answers(arguments: dict[str, Any]) -> None:
    answer = TOOL.execute(arguments)
    if answer["success"]:
        assert set(answer) == {"success", "tool_name", "result", "timestamp"}
    else:
        assert set(answer) == {"success", "error", "tool_name", "code", "timestamp"}
        assert answer["code"] in {"INVALID_ARGUMENT", "LIMIT_EXCEEDED"}, answer


@pytest.mark.parametrize("number", [0.1, 1e-300, 1.7976931348623157e308, 123456.789, -0.0, 5e22])
def test_a_double_comes_back_as_it_is(number: float) -> None:
    answer = TOOL.execute({"operation": "add", "a": number, "b": 0, "precision": 100})
    assert answer["success"]
    expected = rounded(Fraction(Decimal(repr(number))), 100)
    result = answer["result"]["result"]
    assert Decimal(result if isinstance(result, str) else repr(result)) == expected
