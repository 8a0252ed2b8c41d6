"""`agent-executor runs`: what it asks the platform, and what it says."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from agent_executor.api.executor.v1 import run_pb2, run_service_pb2
from agent_executor.cli.main import app
from agent_executor.cli.run_inputs import in_requests
from tests.unit.cli.fake_gateway import FakeGateway, fake_gateway, printed

RUN: dict[str, Any] = {
    "id": "run-1",
    "state": "running",
    "cost_nano_usd": "1500000",
    "created_at": "2026-11-28T08:25:23.152Z",
    "input": "[red]What[/red] is\n" + "15 + 27? " * 20,
}
RECEIPT: dict[str, Any] = {
    "run_id": "run-1",
    "state": "cancelled",
    "was_stopped": True,
    "stopped_call_ids": ["run-1_1_0"],
    "unknown_call_ids": ["run-1_1_0"],
    "finished_call_ids": [],
    "never_begun_call_ids": ["run-1_1_1"],
    "stopped_run_ids": ["run-2"],
    "cost_nano_usd": "1500000",
    "released_nano_usd": "48500000",
}


@pytest.fixture
def gateway(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeGateway]:
    """Yields a gateway; commands run in an empty folder, as someone with a token."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("AGENT_EXECUTOR_TOKEN", "a-token")
    with fake_gateway() as gateway:
        yield gateway


def run(gateway: FakeGateway, *arguments: str) -> Result:
    return CliRunner().invoke(app, ["runs", *arguments, "--url", gateway.url])


@pytest.mark.parametrize("command", ["list", "show", "cancel", "start"])
def test_every_command_shows_an_example(command: str) -> None:
    result = CliRunner().invoke(app, ["runs", command, "--help"])
    assert result.exit_code == 0
    assert f"agent-executor runs {command}" in result.stdout


def test_runs_are_listed_as_they_are_filtered(gateway: FakeGateway) -> None:
    gateway.will_answer("GET", "/api/v1/runs", {"runs": [RUN], "next_page_token": ""})
    result = run(gateway, "list", "--state", "running", "--agent", "a", "--parent", "p")
    assert (result.exit_code, result.stderr) == (0, "")
    (asked,) = gateway.asked
    assert asked.query == {
        "state": ["running"],
        "agent_id": ["a"],
        "parent_run_id": ["p"],
        "page_size": ["20"],
    }
    assert "run-1" in result.stdout
    assert "$0.001500" in result.stdout
    assert "2026-11-28 08:25:23" in result.stdout
    assert "[red]What[/red] is 15 + 27?" in result.stdout, "an input is a text and no markup"
    assert json.loads(run(gateway, "list", "--json").stdout) == [printed(RUN, run_pb2.Run)]


def test_no_runs_are_said_to_be_none(gateway: FakeGateway) -> None:
    gateway.will_answer("GET", "/api/v1/runs", {"runs": [], "next_page_token": ""})
    assert "no such runs" in run(gateway, "list").stdout


def test_a_run_is_shown_as_its_steps(gateway: FakeGateway) -> None:
    at = "2026-11-28T10:00:0{}Z"
    gateway.will_answer(
        "GET",
        "/api/v1/runs/r1",
        {
            "id": "r1",
            "model": "claude-x",
            "state": "running",
            "input": "What is\n2 + 2?",
            "tokens_used": 1_200,
            "cost_nano_usd": "2010000",
            "last_sequence": 2,
            "created_at": at.format(0),
        },
    )
    call = {"tool_call_id": "t1", "tool_name": "calculator"}
    events = [
        {"sequence": 1, "type": "run_started", "created_at": at.format(0), "run_started": {}},
        {
            "sequence": 2,
            "type": "tool_call_started",
            "created_at": at.format(1),
            "tool_call_started": call,
        },
        # What has happened since the run was looked at is not waited for.
        {"sequence": 3, "type": "run_paused", "created_at": at.format(2), "run_paused": {}},
    ]
    gateway.will_answer("GET", "/api/v1/runs/r1/events", events)
    shown = run(gateway, "show", "r1")
    assert shown.exit_code == 0, shown.output
    assert "run r1 · claude-x · running" in shown.stdout
    assert "asked: What is 2 + 2?" in shown.stdout
    assert "tool calculator" in shown.stdout
    assert "goes on" in shown.stdout
    assert "waiting for money" not in shown.stdout
    lines = run(gateway, "show", "r1", "--json").stdout.splitlines()
    assert [json.loads(line)["type"] for line in lines] == ["run_started", "tool_call_started"]


def test_a_cancellation_says_what_it_did(gateway: FakeGateway) -> None:
    gateway.will_answer("POST", "/api/v1/runs/run-1/cancel", RECEIPT)
    result = run(gateway, "cancel", "run-1", "--reason", "too slow")
    assert result.exit_code == 0
    assert gateway.asked[0].body == {"reason": "too slow"}
    assert result.stdout.splitlines() == [
        "Run run-1 was stopped.",
        "  stopped: run-1_1_0",
        "  of these, whether they took effect is unknown: run-1_1_0",
        "  never begun: run-1_1_1",
        "  runs stopped with it: run-2",
        "  it cost $0.001500; $0.048500 that was held is free again",
    ]
    as_json = json.loads(run(gateway, "cancel", "run-1", "--json").stdout)
    assert as_json == printed(RECEIPT, run_service_pb2.CancelReceipt)


def test_a_run_that_had_ended_is_said_to_have(gateway: FakeGateway) -> None:
    ended = {**RECEIPT, "state": "completed", "was_stopped": False, "stopped_call_ids": []}
    gateway.will_answer("POST", "/api/v1/runs/run-1/cancel", ended)
    assert "had ended before, as completed" in run(gateway, "cancel", "run-1").stdout


def test_a_run_that_is_not_there_fails_with_a_sentence(gateway: FakeGateway) -> None:
    result = run(gateway, "cancel", "no/run")
    assert result.exit_code == 1
    assert "There is no such thing." in result.stderr
    assert gateway.asked[0].path == "/api/v1/runs/no%2Frun/cancel"


AGENTS = {"agents": [{"id": "a/1", "name": "Ada"}], "next_page_token": ""}
BATCH_PATH = "/api/v1/agents/a%2F1/runs/batch"


def started(*run_ids: str) -> dict[str, Any]:
    results = [
        {"index": index, "run_id": run_id} | ({} if run_id else {"error": "The queue is full."})
        for index, run_id in enumerate(run_ids)
    ]
    return {"results": results, "started_count": sum(map(bool, run_ids))}


def test_a_run_is_started_for_each_line(gateway: FakeGateway, tmp_path: Path) -> None:
    (tmp_path / "inputs.txt").write_text("What is 1 + 1?\n\nHi\n")
    gateway.will_answer("GET", "/api/v1/agents", AGENTS)
    gateway.will_answer("POST", BATCH_PATH, started("run-1", "run-2"))
    result = run(gateway, "start", "Ada", "inputs.txt", "--batch")
    assert (result.exit_code, result.stdout) == (0, "run-1\nrun-2\n")
    asked = gateway.asked[-1]
    assert asked.body == {"inputs": ["What is 1 + 1?", "Hi"], "processing": "batch"}


def test_what_was_not_started_is_told(gateway: FakeGateway, tmp_path: Path) -> None:
    (tmp_path / "inputs.txt").write_text("one\ntwo\n")
    gateway.will_answer("GET", "/api/v1/agents", AGENTS)
    gateway.will_answer("POST", BATCH_PATH, started("run-1", ""))
    result = run(gateway, "start", "a/1", "inputs.txt")
    assert (result.exit_code, result.stdout) == (1, "run-1\n")
    assert "two: The queue is full." in result.stderr
    assert gateway.asked[-1].body["processing"] == "standard"
    as_json = run(gateway, "start", "a/1", "inputs.txt", "--json")
    assert [each["run_id"] for each in json.loads(as_json.stdout)] == ["run-1", ""]


def test_many_lines_are_started_by_several_requests(gateway: FakeGateway, tmp_path: Path) -> None:
    (tmp_path / "inputs.txt").write_text("Hi\n" * 1_001)
    gateway.will_answer("GET", "/api/v1/agents", AGENTS)
    gateway.will_answer("POST", BATCH_PATH, started(*["first"] * 1_000), started("last"))
    result = run(gateway, "start", "Ada", "inputs.txt")
    assert result.stdout.split() == ["first"] * 1_000 + ["last"]
    assert [len(one.body["inputs"]) for one in gateway.asked if one.body] == [1_000, 1]


def test_requests_stay_below_what_one_takes() -> None:
    texts = ["x" * 500_000] * 9
    requests = list(in_requests(texts))
    assert [text for some in requests for text in some] == texts
    assert max(map(len, requests)) == 4
    assert list(in_requests([])) == []
