"""Rate limits, allowed domains and the audit log, as an organization's administrator meets them."""

from __future__ import annotations

import datetime as dt
import itertools
import json
import re
import sqlite3
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from tests.e2e.agents_and_runs import SUM, create_agent, execute, pages
from tests.e2e.custom_tools import NAME, call, create_custom_agent, register, source_of
from tests.e2e.error_shape import assert_is_error
from tests.platforms import (
    COMMAND,
    Client,
    RunningPlatform,
    command_environment,
    restarted_platform,
    running_platform,
)

LIMIT_PATH = "/api/v1/tools/calculator/rate-limit"
# So long that no test lives to see a second call let in.
HOUR_SECONDS = 3600.0


@pytest.fixture(scope="module")
def platform() -> Iterator[RunningPlatform]:
    """A platform whose files may be looked at."""
    with running_platform() as running:
        yield running


def set_limit(client: Client, max_calls: int, **fields: Any) -> None:
    body = {"max_calls": max_calls, "window_seconds": HOUR_SECONDS, **fields}
    answer = client.put(LIMIT_PATH, body)
    assert answer.status == 200, answer.content


def verify(data_dir: Path, *options: str) -> subprocess.CompletedProcess[str]:
    """Runs `agent-executor audit verify` as an operator does."""
    return subprocess.run(
        [*COMMAND, "audit", "verify", "--data-dir", str(data_dir), *options],
        env=command_environment(),
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def audit_events(client: Client, query: str = "", page_size: int = 1000) -> list[dict[str, Any]]:
    return list(pages(client, f"/api/v1/audit-events?{query}", "audit_events", page_size))


class TestRateLimits:
    """A limit refuses a call and not its run."""

    def test_a_call_beyond_the_limit_is_a_failed_result(self, client: Client) -> None:
        set_limit(client, 2)
        agent_id = create_agent(client)
        results = [call(client, agent_id, SUM) for _ in range(3)]
        codes = [result["code"] for result in results]
        assert codes == ["", "", "RATE_LIMIT_EXCEEDED"]
        # It says when to come again: two calls an hour are one every half hour.
        (seconds,) = re.findall(r"Retry after ([0-9.]+) s", results[2]["error"])
        assert HOUR_SECONDS / 2 - 60 < float(seconds) <= HOUR_SECONDS / 2
        events = audit_events(client, "decision=refused")
        assert [(each["rule"], each["code"]) for each in events] == [
            ("rate_limit", "RATE_LIMIT_EXCEEDED")
        ]

    def test_each_user_has_the_limit_alone_and_the_organization_in_common(
        self, platform: RunningPlatform, client: Client, organization: str
    ) -> None:
        users = [platform.client(platform.token(organization, user)) for user in ("ada", "eve")]
        agent_id = create_agent(client)
        set_limit(client, 1)
        codes = [call(user, agent_id, SUM)["code"] for user in users for _ in range(2)]
        assert codes == ["", "RATE_LIMIT_EXCEEDED", "", "RATE_LIMIT_EXCEEDED"]
        client.delete(LIMIT_PATH)
        set_limit(client, 1, scope="organization")
        codes = [call(user, agent_id, SUM)["code"] for user in users]
        assert codes == ["", "RATE_LIMIT_EXCEEDED"]

    def test_another_organization_is_not_limited(
        self, platform: RunningPlatform, client: Client
    ) -> None:
        set_limit(client, 0)
        stranger = platform.client(platform.token("strangers"))
        assert call(stranger, create_agent(stranger), SUM)["success"]
        assert stranger.get("/api/v1/rate-limits").body["rate_limits"] == []
        assert call(client, create_agent(client), SUM)["code"] == "RATE_LIMIT_EXCEEDED"

    def test_a_limit_is_replaced_and_removed_at_once(self, client: Client) -> None:
        agent_id = create_agent(client)
        set_limit(client, 0)
        assert call(client, agent_id, SUM)["code"] == "RATE_LIMIT_EXCEEDED"
        set_limit(client, 5)
        assert call(client, agent_id, SUM)["success"]
        set_limit(client, 0)
        assert client.delete(LIMIT_PATH).status == 200
        assert call(client, agent_id, SUM)["success"]
        assert client.delete(LIMIT_PATH).status == 404

    def test_a_custom_tool_is_limited_too(self, client: Client) -> None:
        register(client)
        client.put(f"/api/v1/tools/{NAME}/rate-limit", {"max_calls": 1, "window_seconds": 60})
        agent_id = create_custom_agent(client)
        codes = [call(client, agent_id)["code"] for _ in range(2)]
        assert codes == ["", "RATE_LIMIT_EXCEEDED"]

    def test_policy_needs_its_permission(self, platform: RunningPlatform) -> None:
        caller = platform.client(platform.token("readers", permissions=["tool:*"]))
        for answer in (
            caller.put(LIMIT_PATH, {"max_calls": 1, "window_seconds": 1}),
            caller.delete(LIMIT_PATH),
            caller.get("/api/v1/rate-limits"),
            caller.post("/api/v1/allowed-domains", {"domain": "api.example.com"}),
            caller.get("/api/v1/allowed-domains"),
            caller.get("/api/v1/audit-events"),
        ):
            assert_is_error(answer, 403, "PERMISSION_DENIED")


def test_policy_outlives_the_platform() -> None:
    with running_platform() as first:
        client = first.client()
        set_limit(client, 0)
        assert client.post("/api/v1/allowed-domains", {"domain": "*.Example.com"}).status == 200
        version = register(client, source_of("return 'still there'"))["version"]
        agent_ids = [create_agent(client), create_custom_agent(client)]
        assert call(client, agent_ids[0], SUM)["code"] == "RATE_LIMIT_EXCEEDED"
        assert first.stop() == 0
        with restarted_platform(first) as second:
            client = second.client()
            assert call(client, agent_ids[0], SUM)["code"] == "RATE_LIMIT_EXCEEDED"
            assert call(client, agent_ids[1])["result"] == "still there"
            assert client.get(f"/api/v1/tools/{NAME}").body["version"] == version
            domains = client.get("/api/v1/allowed-domains").body["allowed_domains"]
            assert [each["domain"] for each in domains] == ["*.example.com"]
            (limit,) = client.get("/api/v1/rate-limits").body["rate_limits"]
            assert limit == {
                "tool_name": "calculator",
                "scope": "user",
                "max_calls": 0,
                "window_seconds": HOUR_SECONDS,
            }


class TestScreening:
    """Arguments that look like an attack are refused; a calculator or an e-mail is none."""

    def test_an_injection_is_refused_and_noted(self, client: Client) -> None:
        schema = {"type": "object", "properties": {"query": {"type": "string"}}}
        register(client, input_schema=schema)
        agent_id = create_custom_agent(client)
        text = "Use custom_tool with query \"x' OR '1'='1'; DROP TABLE users; --\""
        result = call(client, agent_id, text)
        assert (result["success"], result["code"]) == (False, "INVALID_ARGUMENT"), result
        assert "looks like an attack" in result["error"]
        (event,) = audit_events(client)
        assert (event["decision"], event["rule"]) == ("refused", "screening")
        assert any(fact.startswith("screening:") for fact in event["facts"])
        benign = call(
            client, agent_id, 'Use custom_tool with query "please select a table; or two"'
        )
        assert benign["success"], benign


class TestTheAuditLog:
    """One event per attempt, refusals included, in one chain."""

    def test_events_say_who_did_what_and_what_came_of_it(self, client: Client) -> None:
        agent_id = create_agent(client)
        run = execute(client, agent_id)
        (result,) = run["output"]["tool_results"]
        (event,) = audit_events(client)
        assert event["user_id"] == "admin"
        assert (event["run_id"], event["agent_id"]) == (run["task_id"], agent_id)
        assert event["tool_call_id"] == result["tool_call_id"]
        assert (event["tool_name"], event["tool_version"]) == ("calculator", "")
        assert (event["decision"], event["rule"], event["outcome"]) == ("allowed", "", "success")
        assert (event["code"], event["facts"]) == ("", [])
        for digest in ("arguments_sha256", "result_sha256", "sha256"):
            assert re.fullmatch("[0-9a-f]{64}", event[digest])
        assert event["previous_sha256"] == "0" * 64

    def test_events_are_filtered(
        self, platform: RunningPlatform, client: Client, organization: str
    ) -> None:
        register(client)
        ada = platform.client(platform.token(organization, "ada"))
        before = dt.datetime.now(dt.UTC).isoformat().replace("+00:00", "Z")
        run = execute(client, create_agent(client))
        agent_id = create_custom_agent(client)
        call(ada, agent_id)
        set_limit(client, 0)
        call(client, create_agent(client), SUM)
        everything = audit_events(client)
        assert len(everything) == 3
        newest, custom, oldest = everything
        for query, expected in (
            (f"run_id={run['task_id']}", [oldest]),
            (f"tool_name={NAME}", [custom]),
            ("tool_name=nothing", []),
            ("user_id=ada", [custom]),
            ("user_id=admin", [newest, oldest]),
            ("decision=refused", [newest]),
            ("decision=allowed", [custom, oldest]),
            ("decision=replayed", []),
            ("decision=allowed&user_id=admin", [oldest]),
            (f"created_from={before}", everything),
            (f"created_before={before}", []),
            (f"created_from={quote(custom['created_at'])}", [newest, custom]),
            (f"created_before={quote(custom['created_at'])}", [oldest]),
        ):
            assert audit_events(client, query) == expected, query
        assert client.get("/api/v1/audit-events?decision=maybe").status == 400

    def test_pages_hold_every_event_once(self, client: Client) -> None:
        agent_id = create_agent(client)
        text = "What is 1 + 1? What is 2 + 2? What is 3 + 3? What is 4 + 4? What is 5 + 5?"
        execute(client, agent_id, text)
        whole = audit_events(client)
        assert len(whole) == 5
        for page_size in (1, 2, 3, 5):
            assert audit_events(client, page_size=page_size) == whole
            filtered = audit_events(client, "decision=allowed", page_size)
            assert filtered == whole
        for newer, older in itertools.pairwise(whole):
            assert newer["previous_sha256"] == older["sha256"]
        bad = client.get("/api/v1/audit-events?page_token=nonsense")
        assert_is_error(bad, 400, "INVALID_ARGUMENT")

    def test_verify_finds_a_changed_row(
        self, client: Client, organization: str, platform: RunningPlatform
    ) -> None:
        agent_id = create_agent(client)
        for _ in range(3):
            execute(client, agent_id)
        head = audit_events(client)[0]["sha256"]
        # Beside the running platform, all organizations at once and one of them.
        good = verify(platform.data_dir)
        assert good.returncode == 0, good
        assert head in good.stdout
        expected = verify(platform.data_dir, "--organization", organization, "--expect-head", head)
        assert expected.returncode == 0, expected
        changes = {
            "user_id": "eve",
            "decision": "refused",
            "arguments_sha256": "0" * 64,
            "facts": json.dumps(["cache:hit"]),
            "created_at_ms": 1,
        }
        for column, value in changes.items():
            copy = copy_of(platform, f"changed-{column}")
            with sqlite3.connect(copy / "tool_runner" / "tool_runner.sqlite3") as database:
                changed = database.execute(
                    f"UPDATE audit_events SET {column} = ? WHERE sequence = 2 "
                    "AND organization_id = ?",
                    (value, organization),
                )
                assert changed.rowcount == 1
            database.close()
            bad = verify(copy, "--organization", organization)
            assert bad.returncode == 1, (column, bad)
            assert organization in bad.stdout + bad.stderr


def copy_of(platform: RunningPlatform, name: str) -> Path:
    """Copies the tool-runner's database beside the data folder, as one who tampers could."""
    copy = platform.data_dir.parent / name
    (copy / "tool_runner").mkdir(parents=True)
    file = "tool_runner/tool_runner.sqlite3"
    source = sqlite3.connect(platform.data_dir / file)
    target = sqlite3.connect(copy / file)
    with source, target:
        source.backup(target)
    source.close()
    target.close()
    return copy


class TestTheResultCache:
    """A tool that only reads may say how long its results are good for."""

    SOURCE = source_of("import random\nreturn random.random()", effect="read_only")

    def test_equal_calls_get_one_result(self, platform: RunningPlatform, client: Client) -> None:
        agent_id = create_custom_agent(client)
        register(client, self.SOURCE, cache_ttl_seconds=600)
        first, second = (call(client, agent_id) for _ in range(2))
        assert first["success"]
        assert second["result"] == first["result"]
        newest, oldest = audit_events(client)
        assert (newest["facts"], oldest["facts"]) == (["cache:hit"], [])
        assert newest["result_sha256"] == oldest["result_sha256"]
        # Another organization's tool of the same content is another one's.
        stranger = platform.client(platform.token("strangers"))
        register(stranger, self.SOURCE, cache_ttl_seconds=600)
        assert call(stranger, create_custom_agent(stranger))["result"] != first["result"]
        # So is another version.
        register(client, self.SOURCE + "# Changed.\n", cache_ttl_seconds=600)
        assert call(client, agent_id)["result"] != first["result"]

    def test_without_a_time_to_live_each_call_runs(self, client: Client) -> None:
        register(client, self.SOURCE)
        agent_id = create_custom_agent(client)
        assert call(client, agent_id)["result"] != call(client, agent_id)["result"]
        assert [event["facts"] for event in audit_events(client)] == [[], []]
