"""`agent-executor run` and `runs`: what is shown where, and what becomes of a cut or a Ctrl-C."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from typer.testing import CliRunner, Result

from agent_executor.api.executor.v1 import run_service_pb2
from agent_executor.cli.main import app
from agent_executor.cli.run_display import RunDisplay
from agent_executor.client import attempts
from tests.unit.cli.fake_gateway import FakeGateway, fake_gateway, printed

AGENTS = {
    "agents": [
        {"id": "a1", "name": "Math"},
        {"id": "a2", "name": "Twin"},
        {"id": "a3", "name": "Twin"},
    ],
    "next_page_token": "",
}
STREAM = ("POST", "/api/v1/agents/a1/execute/stream")
EVENTS = ("GET", "/api/v1/runs/r1/events")
RUN = ("GET", "/api/v1/runs/r1")
ENDED: dict[str, Any] = {
    "state": "completed",
    "output": {"response": "It is 42.", "tool_results": [{}]},
    "tokens_used": 17,
    "cost_nano_usd": "1500000",
}
RESULT = {"tool_name": "calculator", "success": True, "result": 42, "error": "", "code": ""}


def message(name: str, sequence: int, **content: Any) -> dict[str, Any]:
    return {"run_id": "r1", "type": name, "sequence": sequence, name: content}


def delta(text: str, *, is_thinking: bool = False) -> dict[str, Any]:
    return message("text_delta", 4, model_call_id="m1", text=text, is_thinking=is_thinking)


STARTED = message("run_started", 1, model="claude")
CALLED = message("tool_call_started", 2, tool_name="calculator", arguments_json='{"a": 15}')
RETURNED = message("tool_call_completed", 3, tool_result=RESULT)
DONE = message("done", 6, **ENDED)
WRITTEN = message(
    "model_call_completed", 5, model_call_id="m1", content=[{"type": "text", "text": "It is 42."}]
)
FINISHED = message("run_finished", 6, state="completed", response="It is 42.")


@pytest.fixture
def gateway(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeGateway]:
    """Yields a gateway with agents; commands run in an empty folder, as someone with a token."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("AGENT_EXECUTOR_TOKEN", "a-token")
    monkeypatch.setattr(attempts, "MAX_WAIT_SECONDS", 0.001)
    with fake_gateway() as gateway:
        gateway.will_answer("GET", "/api/v1/agents", AGENTS)
        gateway.will_answer(*RUN, {**ENDED, "id": "r1"})
        yield gateway


def run(gateway: FakeGateway, *arguments: str) -> Result:
    return CliRunner().invoke(app, [*arguments, "--url", gateway.url])


@pytest.mark.parametrize("agent", ["a1", "Math"])
def test_a_pipe_gets_the_answer_and_nothing_else(gateway: FakeGateway, agent: str) -> None:
    gateway.will_answer(*STREAM, [STARTED, CALLED, RETURNED, delta("It is "), delta("42."), DONE])
    result = run(gateway, "run", agent, "What is 15 + 27?", "--max-cost-usd", "0.5")
    assert (result.exit_code, result.stdout) == (0, "It is 42.\n")
    assert '→ calculator {"a": 15}' in result.stderr
    assert "✓ calculator 42" in result.stderr
    assert "completed · 1 tool call · 17 tokens · $0.001500 · run r1" in result.stderr
    assert gateway.asked[-1].body == {
        "input": "What is 15 + 27?",
        "max_cost_usd": 0.5,
        "on_disconnect": "continue",
    }


def test_json_is_each_update_on_its_line(gateway: FakeGateway) -> None:
    gateway.will_answer(*STREAM, [STARTED, delta("It is 42."), DONE])
    result = run(gateway, "run", "a1", "x", "--json")
    lines = [json.loads(line) for line in result.stdout.splitlines()]
    told = (STARTED, delta("It is 42."), DONE)
    assert lines == [printed(each, run_service_pb2.RunUpdate) for each in told]


def test_a_run_that_fails_is_told_with_its_reason(gateway: FakeGateway) -> None:
    failed = {**ENDED, "state": "failed", "error": "The model is away."}
    gateway.will_answer(*STREAM, [STARTED, message("done", 6, **failed)])
    result = run(gateway, "run", "a1", "x")
    assert result.exit_code == 1
    assert "The model is away." in result.stderr


def test_a_stream_that_is_cut_is_taken_up_where_it_was(gateway: FakeGateway) -> None:
    stopping = message("error", 2, error="This executor stops.", code="UNAVAILABLE")
    so_far = [STARTED, CALLED]
    gateway.will_answer(
        *STREAM,
        [*so_far, stopping],
        so_far,
        [*so_far, RETURNED, delta("It is "), delta("42."), DONE],
    )
    result = run(gateway, "run", "a1", "x")
    assert (result.exit_code, result.stdout) == (0, "It is 42.\n")
    assert result.stderr.count("→ calculator") == 1


def test_a_connection_that_never_comes_back_is_told(gateway: FakeGateway) -> None:
    gateway.will_answer(*EVENTS, [RETURNED])
    result = run(gateway, "runs", "follow", "r1")
    assert result.exit_code == 1
    assert "The stream was cut." in result.stderr


@pytest.mark.parametrize(("agent", "says"), [("nobody", "There is no agent"), ("Twin", "a2, a3")])
def test_an_agent_must_be_known_and_one(gateway: FakeGateway, agent: str, says: str) -> None:
    result = run(gateway, "run", agent, "x")
    assert result.exit_code == 1
    assert says in " ".join(result.stderr.split())


@pytest.mark.parametrize("cancels", [True, False])
def test_ctrl_c_leaves_the_run_or_cancels_it(
    gateway: FakeGateway, monkeypatch: pytest.MonkeyPatch, cancels: bool
) -> None:
    receipt = {
        "run_id": "r1",
        "was_stopped": True,
        "state": "cancelled",
        "stopped_call_ids": ["m1"],
        "cost_nano_usd": "0",
        "released_nano_usd": "0",
    }
    gateway.will_answer("POST", "/api/v1/runs/r1/cancel", receipt)
    gateway.will_answer(*STREAM, [STARTED, CALLED])

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setitem(RunDisplay.show.__globals__, "_short", interrupt)
    result = run(gateway, "run", "a1", "x", *(["--cancel"] if cancels else []))
    assert result.exit_code == 130
    assert (gateway.asked[-1].path == "/api/v1/runs/r1/cancel") is cancels
    if cancels:
        assert "Run r1 was stopped.\n  stopped: m1\n" in result.stderr
    else:
        assert "agent-executor runs follow r1 --after 2" in result.stderr


def test_a_run_can_be_followed(gateway: FakeGateway) -> None:
    gateway.will_answer(*EVENTS, [RETURNED, WRITTEN, FINISHED])
    result = run(gateway, "runs", "follow", "r1", "--after", "2")
    assert (result.exit_code, result.stdout) == (0, "It is 42.\n")
    assert gateway.asked[0].query == {"after_sequence": ["2"]}


def test_on_a_terminal_text_is_shown_as_it_comes_and_once() -> None:
    out, notes = io.StringIO(), io.StringIO()
    display = RunDisplay(
        Console(file=out, force_terminal=True, no_color=True, width=80),
        Console(file=notes, width=80),
    )
    display.show(STARTED)
    display.show(delta("It is "))
    assert out.getvalue() == "It is "
    display.show(delta("42."))
    display.show(WRITTEN)
    display.show(message("model_call_failed", 5, error="cut", code="X", will_retry=True))
    display.show_end(ENDED)
    assert out.getvalue() == "It is 42.\n"
    assert "failed and is tried again: cut" in notes.getvalue()


@pytest.mark.parametrize("command", ["run", "runs follow"])
def test_every_command_shows_an_example(command: str) -> None:
    result = CliRunner().invoke(app, [*command.split(), "--help"])
    assert result.exit_code == 0
    assert f"agent-executor {command}" in result.stdout


def test_what_a_model_writes_steers_no_terminal() -> None:
    out, notes = io.StringIO(), io.StringIO()
    display = RunDisplay(
        Console(file=out, force_terminal=True, no_color=True, width=80),
        Console(file=notes, width=80),
    )
    display.show(STARTED)
    display.show(delta("a\x1b]0;title\x07b\x9b2J\r\tc\n"))
    display.show(message("tool_call_started", 2, tool_name="t", arguments_json='"\x1b[2J"'))
    assert out.getvalue().split() == ["a]0;titleb2J", "c"]
    assert "\x1b" not in notes.getvalue()
