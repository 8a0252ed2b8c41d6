"""Mock Claude understands which tools a text asks for, and with which arguments."""

from __future__ import annotations

import time
from typing import Any

import pytest

from agent_executor.executor.models.mock_language import ATTENTION_CHARACTERS, attend
from tests.unit.executor.models.dialogue import (
    CALCULATOR,
    EMAIL,
    HTTP_REQUEST,
    SLACK,
    WEATHER,
    converse,
)

OK: dict[str, Any] = {
    "http_request": {"status_code": 200, "body": "fine"},
    "weather_report": {"result": "sunny"},
    "email": {"status": "sent"},
    "slack": {"ok": True},
}


@pytest.mark.parametrize(
    ("text", "arguments"),
    [
        (
            "GET https://api.example.com/data",
            {"method": "GET", "url": "https://api.example.com/data"},
        ),
        ("fetch https://a.example/x?y=1.", {"method": "GET", "url": "https://a.example/x?y=1"}),
        ("Please delete http://a.example/7!", {"method": "DELETE", "url": "http://a.example/7"}),
        ("what is at (https://a.example)?", {"method": "GET", "url": "https://a.example"}),
        (
            'POST https://a.example/items with json {"n": "3+4", "list": [1, 2.5]}',
            {
                "method": "POST",
                "url": "https://a.example/items",
                "json": {"n": "3+4", "list": [1, 2.5]},
            },
        ),
        (
            'put https://a.example with headers: {"A": "b"} and body "some text"',
            {
                "method": "PUT",
                "url": "https://a.example",
                "headers": {"A": "b"},
                "data": "some text",
            },
        ),
        (
            'POST https://a.example with body {"data": {"a": 1}} and params {"q": "x"}',
            {
                "method": "POST",
                "url": "https://a.example",
                "json": {"data": {"a": 1}},
                "params": {"q": "x"},
            },
        ),
        ('POST https://a.example json {"a": NaN}', {"method": "POST", "url": "https://a.example"}),
        (
            'POST https://a.example json {"a": "\\ud800"}',
            {"method": "POST", "url": "https://a.example"},
        ),
        (
            "POST https://a.example json " + "[" * 5_000,
            {"method": "POST", "url": "https://a.example"},
        ),
    ],
)
async def test_an_http_request(text: str, arguments: dict[str, Any]) -> None:
    dialogue = await converse(text, [CALCULATOR, HTTP_REQUEST], results=OK)
    assert dialogue.calls == [[("http_request", arguments)]]
    assert dialogue.answer == f"{arguments['method']} {arguments['url']} answered 200: fine"


@pytest.mark.parametrize(
    ("result", "answer"),
    [
        ({"status_code": 204}, "answered 204"),
        ({"status": 200, "json": {"a": [1.5]}}, 'answered 200: {"a":[1.5]}'),
        ({"status": "done"}, 'returned {"status": "done"}'),
        ("x" * 1_000, 'returned "' + "x" * 299 + "…"),
    ],
)
async def test_the_answer_to_a_request_is_told_in_brief(result: Any, answer: str) -> None:
    results = {"http_request": result}
    dialogue = await converse("GET https://a.example", [HTTP_REQUEST], results=results)
    assert dialogue.answer == f"GET https://a.example {answer}"


async def test_several_requests_and_a_calculation_in_one_turn() -> None:
    text = 'GET https://a.example and then POST https://b.example json {"x": 1}, and what is 2+2?'
    dialogue = await converse(text, [CALCULATOR, HTTP_REQUEST], results=OK)
    (calls,) = dialogue.calls
    assert calls == [
        ("http_request", {"method": "GET", "url": "https://a.example"}),
        ("http_request", {"method": "POST", "url": "https://b.example", "json": {"x": 1}}),
        ("calculator", {"operation": "add", "a": 2, "b": 2}),
    ]


async def test_without_the_tool_a_request_is_declined() -> None:
    dialogue = await converse("GET https://a.example", [CALCULATOR])
    assert dialogue.calls == []
    assert (
        dialogue.answer == "I have no tool for HTTP requests, so I cannot reach https://a.example"
    )


async def test_a_failed_request_is_reported_and_not_repeated() -> None:
    error = {"success": False, "error": "The domain is not allowed.", "code": "PERMISSION_DENIED"}
    dialogue = await converse(
        "GET https://a.example", [HTTP_REQUEST], results={"http_request": error}
    )
    assert len(dialogue.calls) == 1
    assert dialogue.answer == "GET https://a.example failed: The domain is not allowed."


async def test_the_calculator_is_tested_with_a_sum() -> None:
    dialogue = await converse("Test the calculator tool")
    assert dialogue.calls == [[("calculator", {"operation": "add", "a": 15, "b": 27})]]
    assert dialogue.answer == "Test successful: 15 + 27 = 42"


@pytest.mark.parametrize(
    "text",
    ["Test the weather_report tool", "test weather_report", "Test the Weather Report tool please"],
)
async def test_any_tool_is_tested_with_what_its_schema_requires(text: str) -> None:
    dialogue = await converse(text, [CALCULATOR, WEATHER], results=OK)
    arguments = {"city": "sample", "days": 2, "unit": "celsius"}
    assert dialogue.calls == [[("weather_report", arguments)]]
    assert dialogue.answer == 'Test successful: weather_report returned {"result": "sunny"}'


async def test_all_tools_are_tested_at_once() -> None:
    dialogue = await converse(
        "Test all your tools", [CALCULATOR, HTTP_REQUEST, WEATHER], results=OK
    )
    (calls,) = dialogue.calls
    assert [name for name, _ in calls] == ["calculator", "http_request", "weather_report"]
    assert dialogue.answer.count("Test successful") == 3


async def test_a_tool_is_used_with_the_arguments_of_the_text() -> None:
    text = 'Use weather_report with {"city": "Paris 3-2", "days": 5, "unit": "kelvin"}'
    dialogue = await converse(text, [CALCULATOR, WEATHER], results=OK)
    arguments = {"city": "Paris 3-2", "days": 5, "unit": "kelvin"}
    assert dialogue.calls == [[("weather_report", arguments)]]


@pytest.mark.parametrize(
    ("text", "arguments"),
    [
        ("with city New York and days 3", {"city": "New York", "days": 3, "unit": "celsius"}),
        ("with days=7, unit: kelvin.", {"city": "sample", "days": 7, "unit": "kelvin"}),
        (
            'tool using city "2 + 2, days 9"',
            {"city": "2 + 2, days 9", "days": 2, "unit": "celsius"},
        ),
        ("with city Paris days 3\nunit kelvin", {"city": "Paris", "days": 3, "unit": "celsius"}),
        ("with days 3.5 and days true", {"city": "sample", "days": 2, "unit": "celsius"}),
        ("with its examples", {"city": "sample", "days": 2, "unit": "celsius"}),
    ],
)
async def test_arguments_that_a_text_names_are_used_and_the_others_are_samples(
    text: str, arguments: dict[str, Any]
) -> None:
    dialogue = await converse(f"Use the weather_report {text}", [CALCULATOR, WEATHER], results=OK)
    assert dialogue.calls == [[("weather_report", arguments)]]
    assert dialogue.answer == 'weather_report returned {"result": "sunny"}'


async def test_naming_the_calculator_adds_no_second_call() -> None:
    dialogue = await converse("Use the calculator tool to add 5 and 6")
    assert dialogue.calls == [[("calculator", {"operation": "add", "a": 5, "b": 6})]]


@pytest.mark.parametrize(
    ("text", "tools", "answer"),
    [
        (
            "Test the frobnicator tool",
            [CALCULATOR, WEATHER],
            "I have no tool named frobnicator. My tools: calculator, weather_report.",
        ),
        (
            "Test the calculator tool",
            [],
            "I have no tool named calculator, and no other tool either.",
        ),
    ],
)
async def test_a_tool_that_is_not_offered_is_not_called(
    text: str, tools: list[Any], answer: str
) -> None:
    dialogue = await converse(text, tools)
    assert dialogue.calls == []
    assert dialogue.answer == answer


async def test_a_failed_tool_is_reported() -> None:
    error = {"success": False, "error": "No such city.", "code": "TOOL_EXECUTION_ERROR"}
    dialogue = await converse("test weather_report", [WEATHER], results={"weather_report": error})
    assert dialogue.answer == "weather_report failed: No such city."


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        (
            "Test execution",
            '"Test execution" received. I am Ada, a math expert, and everything works.',
        ),
        (
            "Concurrent test",
            '"Concurrent test" received. I am Ada, a math expert, and everything works.',
        ),
        ("Hello there", "Hello! I am Ada, a math expert. How can I help you?"),
        ("Thank you!", "You are welcome!"),
        ("test ://", '"test ://" received. I am Ada, a math expert, and everything works.'),
        (" \n ", "Your message is empty. I am Ada, a math expert. What can I do for you?"),
        (
            "Who are you?",
            "I am Ada, a math expert. I can do arithmetic and use these tools: calculator.",
        ),
    ],
)
async def test_small_talk(text: str, answer: str) -> None:
    dialogue = await converse(text)
    assert dialogue.calls == []
    assert dialogue.answer == answer


async def test_a_question_beyond_it_is_answered_honestly() -> None:
    dialogue = await converse("Why is the sky blue?", system="")
    assert dialogue.answer == (
        'You said: "Why is the sky blue?". I am an assistant, played offline by mock Claude. '
        "I can do arithmetic and use these tools: calculator."
    )


def test_of_a_long_text_the_beginning_and_the_end_are_read() -> None:
    text = attend("first " + "x" * 1_000_000 + " last")
    assert text.startswith("first ")
    assert text.endswith(" last")
    assert len(text) == ATTENTION_CHARACTERS + 1


REPEATED = (
    *("a", "https://", "https://a.example ", "GET https://a json {", "test the ", 'data "', "{"),
    *("use weather_report with {", "call my ", "test all of the ", "(", "1+", "\ud800", "é1+"),
    *("use weather_report with city ", "with city a days 1 ", "a@a.a ", "send 'a to a@a.a and "),
    *(
        'post "to #a ',
        "mail to a a #",
        "e-mail a@a.a, with subject ",
        "to #a saying ",
        "a.@",
        "#'a ",
    ),
)


@pytest.mark.parametrize("part", REPEATED)
async def test_a_mebibyte_of_text_is_answered_at_once(part: str) -> None:
    text = (part * (1_048_576 // len(part.encode(errors="replace")) + 1))[:1_048_576]
    start = time.process_time()
    tools = [CALCULATOR, HTTP_REQUEST, WEATHER, EMAIL, SLACK]
    await converse(text, tools, results=OK, model="claude-mine")
    # About 30 ms a turn, most of it hashing and counting; a pattern that backtracks takes minutes.
    assert time.process_time() - start < 1.0
