from __future__ import annotations

import json
import time
from decimal import Decimal
from typing import Any

import pytest

from agent_executor.json_schema.argument_schema import ArgumentSchema
from agent_executor.tool_runner.builtin.calculator import OPERATIONS, CalculatorTool

TOOL = CalculatorTool()


def calculate(operation: str, a: Any, *b: Any, **more: Any) -> Any:
    arguments = {"operation": operation, "a": a, **more}
    if b:
        arguments["b"] = b[0]
    answer = TOOL.execute(arguments)
    assert answer["success"], answer
    assert answer["result"].keys() == {"operation", "result"}
    assert answer["result"]["operation"] == operation
    result = answer["result"]["result"]
    # What is not JSON, or is changed by JSON, is no result.
    assert json.loads(json.dumps(result, allow_nan=False)) == result
    return result


def refusal(**arguments: Any) -> tuple[str, str]:
    answer = TOOL.execute(arguments)
    assert not answer["success"], answer
    assert answer.keys() == {"success", "error", "tool_name", "code", "timestamp"}
    return answer["code"], answer["error"]


@pytest.mark.parametrize(
    ("operation", "a", "b", "expected"),
    [
        ("add", 15, 27, 42),
        ("add", 0.1, 0.2, 0.3),
        ("add", "0.1", "0.2", 0.3),
        ("add", 1e21, 1e21, 2e21),
        ("subtract", 5, 8, -3),
        ("subtract", 0.3, 0.1, 0.2),
        ("multiply", 6, 7, 42),
        ("multiply", -1, 0, 0),
        ("multiply", 99_999_999_999, 99_999_999_999, "9999999999800000000001"),
        ("divide", 10, 4, 2.5),
        ("divide", 2, 3, 0.6666666667),
        ("divide", -2, 3, -0.6666666667),
        ("divide", 0, 7, 0),
        ("power", 2, 10, 1024),
        ("power", 2, -2, 0.25),
        ("power", -2, 3, -8),
        ("power", -2, -3, -0.125),
        ("power", 2, 0.5, 1.4142135624),
        ("power", 4, 0.5, 2),
        ("power", 0, 0, 1),
        ("power", 0, 5, 0),
        ("power", 1, "1e300", 1),
        ("power", -1, "1e300", 1),
        ("power", 10, 21, 1e21),
        ("power", 2, 64, "18446744073709551616"),
        ("power", "0.5", "1e300", 0),
        ("percent", 15, 200, 30),
        ("percent", 7.5, 80, 6),
    ],
)
def test_two_numbers(operation: str, a: Any, b: Any, expected: Any) -> None:
    result = calculate(operation, a, b)
    assert result == expected
    assert type(result) is type(expected)


@pytest.mark.parametrize(
    ("operation", "a", "expected"),
    [("sqrt", 9, 3), ("sqrt", 2, 1.4142135624), ("sqrt", 0, 0), ("percent", 15, 0.15)],
)
def test_one_number(operation: str, a: Any, expected: Any) -> None:
    assert calculate(operation, a) == expected


def test_square_root_does_not_use_b() -> None:
    assert calculate("sqrt", 9, "anything") == 3


def test_precision_is_decimal_places() -> None:
    assert calculate("divide", 2, 3, precision=0) == 1
    assert calculate("divide", 2, 3, precision=3) == 0.667
    assert calculate("divide", 200_000, 3, precision=3) == 66666.667
    assert calculate("divide", 2, 3, precision=30) == "0." + "6" * 29 + "7"
    assert calculate("sqrt", 2, precision=20) == "1.4142135623730950488"
    assert calculate("add", 1, 1, precision=5.0) == 2


def test_halves_are_rounded_to_even() -> None:
    assert calculate("divide", 1, 8, precision=2) == 0.12
    assert calculate("divide", 3, 8, precision=2) == 0.38


def test_a_result_just_above_a_half_is_not_taken_for_one() -> None:
    above = "1." + "0" * 20 + "25"
    # (1 + 2.5e-21)² is 1 + 5e-21 + 6.25e-42, and 5e-21 alone would be rounded to even, down.
    assert calculate("power", above, 2, precision=20) == "1." + "0" * 19 + "1"


def test_what_a_double_holds_is_a_number_and_what_it_does_not_is_a_string() -> None:
    assert calculate("add", 2**53, 0) == 2**53
    assert calculate("add", 2**53, 1) == str(2**53 + 1)
    assert calculate("add", "0.1234567890123456", 0, precision=20) == 0.1234567890123456
    assert calculate("add", "0.12345678901234567891", 0, precision=20) == "0.12345678901234567891"
    assert calculate("multiply", "1e150", "1e150") == 1e300


def test_numbers_are_taken_as_they_were_written() -> None:
    assert calculate("multiply", Decimal("1.10"), Decimal("1.10"), precision=4) == 1.21
    assert calculate("add", ".5", "5.") == 5.5
    assert calculate("add", "+1e2", "-1E-1") == 99.9


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        ({"operation": "divide", "a": 1, "b": 0}, "INVALID_ARGUMENT", "Division by zero."),
        ({"operation": "divide", "a": 1, "b": "-0.0"}, "INVALID_ARGUMENT", "Division by zero."),
        ({"operation": "power", "a": 0, "b": -1}, "INVALID_ARGUMENT", "Division by zero"),
        ({"operation": "power", "a": -8, "b": 0.5}, "INVALID_ARGUMENT", "not a real number"),
        ({"operation": "sqrt", "a": -1}, "INVALID_ARGUMENT", "not a real number"),
        ({"operation": "add", "a": 1}, "INVALID_ARGUMENT", "b is missing"),
        ({"operation": "add", "b": 1}, "INVALID_ARGUMENT", "a is missing"),
        ({"a": 1, "b": 1}, "INVALID_ARGUMENT", "operation must be one of"),
        ({"operation": "modulo", "a": 1, "b": 1}, "INVALID_ARGUMENT", "operation must be one of"),
        ({"operation": ["add"], "a": 1, "b": 1}, "INVALID_ARGUMENT", "operation must be one of"),
        ({"operation": "add", "a": 1, "b": 1, "c": 1}, "INVALID_ARGUMENT", "and no other"),
        ({"operation": "add", "a": True, "b": 1}, "INVALID_ARGUMENT", "a must be a finite"),
        ({"operation": "add", "a": None, "b": 1}, "INVALID_ARGUMENT", "a must be a finite"),
        ({"operation": "add", "a": 1, "b": [1]}, "INVALID_ARGUMENT", "b must be a finite"),
        ({"operation": "add", "a": "", "b": 1}, "INVALID_ARGUMENT", "a must be a finite"),
        ({"operation": "add", "a": " 1", "b": 1}, "INVALID_ARGUMENT", "a must be a finite"),
        ({"operation": "add", "a": "1\n", "b": 1}, "INVALID_ARGUMENT", "a must be a finite"),
        ({"operation": "add", "a": "1_0", "b": 1}, "INVALID_ARGUMENT", "a must be a finite"),
        ({"operation": "add", "a": "0x10", "b": 1}, "INVALID_ARGUMENT", "a must be a finite"),
        ({"operation": "add", "a": "٣", "b": 1}, "INVALID_ARGUMENT", "a must be a finite"),
        ({"operation": "add", "a": "NaN", "b": 1}, "INVALID_ARGUMENT", "a must be a finite"),
        ({"operation": "add", "a": "inf", "b": 1}, "INVALID_ARGUMENT", "a must be a finite"),
        ({"operation": "add", "a": float("nan"), "b": 1}, "INVALID_ARGUMENT", "NaN"),
        ({"operation": "add", "a": float("inf"), "b": 1}, "INVALID_ARGUMENT", "infinity"),
        ({"operation": "add", "a": Decimal("sNaN"), "b": 1}, "INVALID_ARGUMENT", "NaN"),
        ({"operation": "add", "a": 1, "b": 1, "precision": -1}, "INVALID_ARGUMENT", "precision"),
        ({"operation": "add", "a": 1, "b": 1, "precision": 101}, "INVALID_ARGUMENT", "precision"),
        ({"operation": "add", "a": 1, "b": 1, "precision": 1.5}, "INVALID_ARGUMENT", "precision"),
        ({"operation": "add", "a": 1, "b": 1, "precision": True}, "INVALID_ARGUMENT", "precision"),
        ({"operation": "add", "a": 1, "b": 1, "precision": "5"}, "INVALID_ARGUMENT", "precision"),
        ({"operation": "add", "a": 1, "b": 1, "precision": 10**9}, "INVALID_ARGUMENT", "precision"),
        ({"operation": "add", "a": "1e999999", "b": 1}, "INVALID_ARGUMENT", "a must be a finite"),
        ({"operation": "add", "a": "1e309", "b": 1}, "LIMIT_EXCEEDED", "out of range"),
        ({"operation": "add", "a": "1e-309", "b": 1}, "LIMIT_EXCEEDED", "out of range"),
        ({"operation": "add", "a": 10**309, "b": 1}, "LIMIT_EXCEEDED", "out of range"),
        ({"operation": "add", "a": 10**4000, "b": 1}, "LIMIT_EXCEEDED", "out of range"),
        ({"operation": "add", "a": "1" * 401, "b": 1}, "LIMIT_EXCEEDED", "400 are allowed"),
        ({"operation": "add", "a": Decimal("1e9999999"), "b": 1}, "LIMIT_EXCEEDED", "out of range"),
        ({"operation": "multiply", "a": "1e200", "b": "1e200"}, "LIMIT_EXCEEDED", "too large"),
        ({"operation": "divide", "a": "1e200", "b": "1e-200"}, "LIMIT_EXCEEDED", "too large"),
        ({"operation": "power", "a": 9, "b": 9**9}, "LIMIT_EXCEEDED", "too large"),
        ({"operation": "power", "a": 10, "b": 309}, "LIMIT_EXCEEDED", "too large"),
        ({"operation": "power", "a": "1e-300", "b": "-1e300"}, "LIMIT_EXCEEDED", "too large"),
    ],
)
def test_what_cannot_be_computed_is_an_error(
    arguments: dict[str, Any], code: str, message: str
) -> None:
    assert refusal(**arguments)[0] == code
    assert message in refusal(**arguments)[1]


NEARLY_ONE = "1." + "0" * 300 + "1"
MANY_NINES = "9." + "9" * 397
MANY_ONES = "1." + "1" * 380


@pytest.mark.parametrize(
    "arguments",
    [
        {"operation": "power", "a": 9, "b": 9**9},
        {"operation": "power", "a": "9" * 308, "b": "9" * 308},
        {"operation": "power", "a": "1e308", "b": "1e308"},
        {"operation": "power", "a": "1e-308", "b": "1e308"},
        {"operation": "power", "a": NEARLY_ONE, "b": "1e308"},
        {"operation": "power", "a": NEARLY_ONE, "b": "7e302"},
        {"operation": "power", "a": NEARLY_ONE, "b": "7.09000000000001e302"},
        {"operation": "power", "a": NEARLY_ONE, "b": "-7.09000000000001e302"},
        {"operation": "power", "a": NEARLY_ONE, "b": MANY_ONES + "e303"},
        {"operation": "power", "a": MANY_NINES, "b": "307.3" + "1" * 380},
        {"operation": "power", "a": MANY_NINES, "b": "307"},
        {"operation": "power", "a": MANY_NINES, "b": "9998." + "1" * 380},
        {"operation": "power", "a": "0." + "9" * 398, "b": MANY_ONES + "e300"},
        {"operation": "power", "a": "1.0000001", "b": "1e9"},
        {"operation": "power", "a": "-" + MANY_NINES, "b": 307},
        {"operation": "sqrt", "a": "9" * 308 + "." + "9" * 90},
        {"operation": "sqrt", "a": "1e-308"},
        {"operation": "divide", "a": "1e308", "b": MANY_ONES},
        {"operation": "divide", "a": "1e-308", "b": MANY_ONES},
        {"operation": "multiply", "a": MANY_ONES, "b": MANY_ONES},
        {"operation": "add", "a": "1e308", "b": "1e-308"},
        {"operation": "add", "a": 10**100_000, "b": 1},
        {"operation": "add", "a": "1" * 1_000_000, "b": 1},
        {"operation": "add", "a": Decimal("1" * 1_000_000), "b": 1},
        {"operation": "add", "a": 1.7976931348623157e308, "b": 5e-308},
    ],
)
def test_no_input_makes_it_slow_or_large(arguments: dict[str, Any]) -> None:
    durations = []
    for _ in range(3):
        started = time.process_time()
        answer = json.dumps(TOOL.execute({**arguments, "precision": 100}))
        durations.append(time.process_time() - started)
        assert len(answer) < 1_000
    # The slowest takes about 10 ms; whoever lifts a bound makes it seconds.
    assert min(durations) < 0.1


def test_the_schema_admits_what_the_tool_takes_and_names_every_operation() -> None:
    schema = ArgumentSchema(TOOL.input_schema)
    for operation in OPERATIONS:
        schema.check({"operation": operation, "a": 1, "b": Decimal("2.5"), "precision": 5})
    assert "percent is a percent of b" in schema.json_text
    assert (TOOL.name, TOOL.effect) == ("calculator", "read_only")
