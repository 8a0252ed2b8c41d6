"""Mock Claude reads calculations in words and in symbols, and nothing that is none."""

from __future__ import annotations

import contextlib
import time
from decimal import Decimal, localcontext

import pytest

from agent_executor.executor.models.mock_arithmetic import (
    DEPTH_MAX,
    OPERATIONS_MAX,
    TooComplexError,
    find_expressions,
)
from agent_executor.executor.models.mock_expression import (
    CalculationError,
    Operation,
    evaluate,
    format_number,
    render,
    to_argument,
)


def solve(text: str, previous: Decimal | None = None) -> list[str]:
    return [
        f"{render(expression)} = {format_number(evaluate(expression))}"
        for expression in find_expressions(text, previous)
    ]


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("What is 15 + 27?", "15 + 27 = 42"),
        ("15 plus 27", "15 + 27 = 42"),
        ("fifteen plus twenty-seven", "15 + 27 = 42"),
        ("Add 15 and 27", "15 + 27 = 42"),
        ("add 15 to 27.", "15 + 27 = 42"),
        ("Calculate the total: 15 + 27", "15 + 27 = 42"),
        ("what's the sum of 1, 2 and 3", "1 + 2 + 3 = 6"),
        ("$15 + $27", "15 + 27 = 42"),
        ("subtract 5 from 20", "20 - 5 = 15"),
        ("difference between 10 and 4", "10 - 4 = 6"),
        ("multiply 6 by 7", "6 * 7 = 42"),
        ("the product of three and four", "3 * 4 = 12"),
        ("6 x 7", "6 * 7 = 42"),
        ("6x7", "6 * 7 = 42"),
        ("12 × 12 ÷ 4 − 1", "12 * 12 / 4 - 1 = 35"),
        ("divide 10 by 4", "10 / 4 = 2.5"),
        ("10 divided by 4", "10 / 4 = 2.5"),
        ("sqrt of 144", "sqrt(144) = 12"),
        ("Sqrt(16) + 9", "sqrt(16) + 9 = 13"),
        ("√144", "sqrt(144) = 12"),
        ("square root of the sum of 9 and 16", "sqrt(9 + 16) = 5"),
        ("2^10", "2^10 = 1024"),
        ("2**10", "2^10 = 1024"),
        ("raise 2 to the power of 10", "2^10 = 1024"),
        ("2^3^2", "2^3^2 = 512"),
        ("-2^2", "-1 * 2^2 = -4"),
        ("(-3)^2", "(-3)^2 = 9"),
        ("5 squared plus 3 cubed", "5^2 + 3^3 = 52"),
        ("15% of 80", "15% of 80 = 12"),
        ("15 percent of 80 plus 10", "15% of 80 + 10 = 22"),
        ("what is 20%", "20% = 0.2"),
        ("20% of nothing", "20% = 0.2"),
        ("two two plus two", "2 + 2 = 4"),
        ("1e500 * 1", "1.0000000000E+500 * 1 = 1.0000000000E+500"),
        ("what is (3+4)*5", "(3 + 4) * 5 = 35"),
        ("2(3+4)", "2 * (3 + 4) = 14"),
        ("2*(3-(4-5))", "2 * (3 - (4 - 5)) = 8"),
        ("((1+2) * 3", "(1 + 2) * 3 = 9"),
        ("5-3-1", "5 - 3 - 1 = 1"),
        ("7 - -3", "7 - -3 = 10"),
        ("-5 + 3", "-5 + 3 = -2"),
        ("average of 2, 4 and 6", "(2 + 4 + 6) / 3 = 4"),
        ("1,000 + 2.5e3", "1000 + 2500 = 3500"),
        ("2.5 million + 5", "2500000 + 5 = 2500005"),
        ("one hundred twenty-three + two thousand five", "123 + 2005 = 2128"),
        ("0.1 + 0.2", "0.1 + 0.2 = 0.3"),
        ("multiply 6 by 7, then add 3", "6 * 7 + 3 = 45"),
        ("add 5 and 6 and subtract 3", "5 + 6 - 3 = 8"),
        ("5+5, times 3?", "(5 + 5) * 3 = 30"),
    ],
)
def test_one_calculation(text: str, answer: str) -> None:
    assert solve(text) == [answer]


@pytest.mark.parametrize(
    ("text", "answers"),
    [
        ("What is 2+2 and 3*4?", ["2 + 2 = 4", "3 * 4 = 12"]),
        ("What is 2+2? What is 3+3?", ["2 + 2 = 4", "3 + 3 = 6"]),
        ("- 15 + 27\n- 3 * 4", ["15 + 27 = 42", "3 * 4 = 12"]),
        ("1. 2 + 2\n2. 3 + 3", ["2 + 2 = 4", "3 + 3 = 6"]),
        ("the sum of 2 and 3, and what is 4*5", ["2 + 3 = 5", "4 * 5 = 20"]),
    ],
)
def test_several_calculations(text: str, answers: list[str]) -> None:
    assert solve(text) == answers


@pytest.mark.parametrize(
    "text",
    [
        "",
        "Test execution",
        "What is 42?",
        "on 2024-01-15 at 12:30 we saw version 1.2.3",
        "covid-19 and a 3D film",
        "What is 10 % 3",
        "add eggs to the list",
        "2 apples and 3 pears",
        "+",
        "()",
        "√",
        "the sum of",
        "the average of the",
        "subtract from",
        "multiply that by 2",
    ],
)
def test_what_is_no_calculation(text: str) -> None:
    assert solve(text) == []


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("Now multiply that by 2", "42 * 2 = 84"),
        ("then add 8", "42 + 8 = 50"),
        ("subtract 2 from it", "42 - 2 = 40"),
        ("what is that plus 1", "42 + 1 = 43"),
    ],
)
def test_that_is_the_number_answered_before(text: str, answer: str) -> None:
    assert solve(text, Decimal(42)) == [answer]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("1/0", "division by zero"),
        ("0/0", "not defined"),
        ("sqrt of -4", "not defined"),
        ("9^9^9", "too large"),
        ("9^9^9^9^9", "too large"),
        ("1e999 * 1e999", "too large"),
    ],
)
def test_what_has_no_value_has_a_reason(text: str, reason: str) -> None:
    (expression,) = find_expressions(text)
    with pytest.raises(CalculationError, match=reason):
        evaluate(expression)


def test_the_head_is_exact_for_what_a_double_is_not() -> None:
    assert solve("12345678901234567890 * 98765432109876543210") == [
        "12345678901234567890 * 98765432109876543210 = 1219326311370217952237463801111263526900"
    ]


def test_the_program_s_own_decimal_context_has_no_influence() -> None:
    find_expressions.cache_clear()
    with localcontext() as context:
        context.prec = 2
        assert solve("-12345.678 + 1 million") == ["-12345.678 + 1000000 = 987654.322"]


@pytest.mark.parametrize(
    "text",
    [
        "+".join("1" for _ in range(OPERATIONS_MAX + 2)),
        "(" * (DEPTH_MAX + 1) + "1+1" + ")" * (DEPTH_MAX + 1),
        "-(" * (DEPTH_MAX + 1) + "1",
        "^".join("2" for _ in range(DEPTH_MAX + 2)),
        "square root of " * (DEPTH_MAX + 1) + "2",
        "1 + 1" + ", then add it to it" * 40,
    ],
)
def test_an_expression_beyond_the_bounds_is_refused(text: str) -> None:
    with pytest.raises(TooComplexError):
        find_expressions(text)


REPEATED = (
    *("(", "1+(", "-", "1+", "1 ", "add ", "sum of 1 and ", "1,", "12,345,", "9", "1.2.", "- - "),
    *("one hundred ", "the ", "a", "5²", "1 % of ", "it - ", "raised  to  the  power ", "1e+"),
    *("then add it to it ", "then it * it - it "),
)


@pytest.mark.parametrize("text", REPEATED)
def test_no_text_takes_long(text: str) -> None:
    long_text = (text * 8_192)[:8_192]
    start = time.process_time()
    with contextlib.suppress(TooComplexError):
        find_expressions(long_text, Decimal(1))
    # Four to forty milliseconds; an expression that backtracks takes minutes.
    assert time.process_time() - start < 0.5


@pytest.mark.parametrize(
    ("number", "argument"),
    [
        ("42", 42),
        ("4E+1", 40),
        ("-0.5", -0.5),
        ("0.1", 0.1),
        ("1e20", 10**20),
        ("12345678901234567890.123", "12345678901234567890.123"),
        ("0.1234567890123456789", "0.1234567890123456789"),
    ],
)
def test_a_number_reaches_the_calculator_exactly(number: str, argument: float | str) -> None:
    converted = to_argument(Decimal(number))
    assert converted == argument
    assert type(converted) is type(argument)


def test_parentheses_are_written_where_they_matter() -> None:
    one, two, three = Decimal(1), Decimal(2), Decimal(3)
    difference = Operation("subtract", one, two)
    assert render(Operation("subtract", three, difference)) == "3 - (1 - 2)"
    assert render(Operation("subtract", difference, three)) == "1 - 2 - 3"
    assert render(Operation("power", Operation("power", two, three), two)) == "(2^3)^2"
    assert render(Operation("percent", difference, Operation("add", one, two))) == (
        "(1 - 2)% of (1 + 2)"
    )
    assert render(Operation("divide", Operation("sqrt", two), three)) == "sqrt(2) / 3"
