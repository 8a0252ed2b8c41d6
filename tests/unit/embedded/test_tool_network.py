"""The network of a program's own tools: in their threads it works, elsewhere it says why not."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest

from agent_executor import AgentExecutor, LLMModel, ToolBase, ToolSandbox
from agent_executor.tool_runner.tool_base import Effect
from tests.web_server import HOST, WebServer, running_web_server


class Fetching(ToolBase):
    """Fetches in the thread that every plain ``def`` has."""

    def __init__(self, method: str = "GET", effect: Effect = "unsafe") -> None:
        super().__init__("fetch", "Fetches.", effect=effect)
        self.method = method

    def _execute_impl(self, arguments: dict[str, Any]) -> Any:
        return self.http.request(self.method, f"{origin()}/page", params={"x": 1})["status_code"]


class FetchingInCoroutine(Fetching):
    """Would block the event loop that has to make the request."""

    async def _execute_impl(self, arguments: dict[str, Any]) -> Any:
        return self.http.request("GET", origin())["status_code"]


class FetchingInOwnThread(Fetching):
    """A coroutine that waits for a thread may."""

    async def _execute_impl(self, arguments: dict[str, Any]) -> Any:
        answer = await asyncio.to_thread(self.http.request, "GET", f"{origin()}/page?x=1")
        return answer["status_code"]


class PostingThoughItOnlyReads(Fetching):
    """Says that it only reads."""

    def __init__(self) -> None:
        super().__init__("POST", "read_only")


_origins: list[str] = []


def origin() -> str:
    """Returns where the server of the running test is."""
    return _origins[-1]


@pytest.fixture
def web(monkeypatch: pytest.MonkeyPatch) -> Iterator[WebServer]:
    """A server that an operator lets tools reach."""
    monkeypatch.setenv("TOOL_RUNNER_EGRESS_ALLOWED_CIDRS", '["127.0.0.0/8", "::1/128"]')
    with running_web_server() as server:
        _origins.append(server.origin)
        yield server
        _origins.pop()


def result_of(tool_class: type[Fetching], *domains: str) -> dict[str, Any]:
    """Runs an agent with the tool and returns the result of its call."""
    sandbox = ToolSandbox()
    for domain in domains:
        sandbox.add_allowed_domain(domain)
    config = {"name": "Agent", "custom_tools": {"fetch": {"class": tool_class, "enabled": True}}}
    with AgentExecutor(config, LLMModel.CLAUDE_SONNET_4, sandbox=sandbox) as agent:
        (result,) = agent.execute("Test the fetch tool")["tool_results"]
    return dict(result)


@pytest.mark.parametrize("tool_class", [Fetching, FetchingInOwnThread])
def test_a_tool_reaches_an_allowed_domain(web: WebServer, tool_class: type[Fetching]) -> None:
    result = result_of(tool_class, HOST)
    assert (result["success"], result["result"]) == (True, 200), result
    assert [request.path for request in web.requests] == ["/page?x=1"]


def test_a_tool_reaches_no_other_domain(web: WebServer) -> None:
    result = result_of(Fetching, "api.example.com")
    assert result["code"] == "PERMISSION_DENIED"
    assert "ToolSandbox.add_allowed_domain" in result["error"]
    assert web.requests == []


def test_a_tool_that_only_reads_cannot_post(web: WebServer) -> None:
    result = result_of(PostingThoughItOnlyReads, HOST)
    assert result["code"] == "PERMISSION_DENIED"
    assert "read_only" in result["error"]
    assert web.requests == []


def test_a_coroutine_is_told_why_it_cannot(web: WebServer) -> None:
    result = result_of(FetchingInCoroutine, HOST)
    assert result["code"] == "TOOL_EXECUTION_ERROR"
    assert "let _execute_impl be a plain def" in result["error"]
    assert web.requests == []


def test_a_tool_that_no_platform_runs_has_no_network() -> None:
    result = Fetching().execute({})
    assert (result["success"], result["error"]) == (False, "This tool has no network here.")
