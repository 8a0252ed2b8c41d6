"""The ledger's commands: what they ask the platform, as whom, and what they say when it fails."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import jwt
import pytest
import typer
from typer.testing import CliRunner, Result

from agent_executor.api.ledger.v1 import suggestion_service_pb2, usage_service_pb2
from agent_executor.cli.connection import ConnectionFaultError, Target, connect
from agent_executor.cli.keys import ensure_keys
from agent_executor.cli.main import app
from agent_executor.cli.times import bucket_for, buckets_between, parse_time
from tests.unit.cli.fake_gateway import FakeGateway, fake_gateway, printed
from tests.unit.cli.ledger_answers import (
    CARD,
    EVENTS,
    RUN_COST,
    SUGGESTIONS,
    budget,
    page,
    summary,
)

COMMANDS = (
    "usage",
    "usage run",
    "usage export",
    "budgets list",
    "budgets set",
    "budgets delete",
    "budgets events",
    "rate-cards list",
    "rate-cards set",
    "rate-cards withdraw",
    "rate-cards resolve",
    "suggestions",
    "ledger verify",
)
NOW = datetime(2026, 11, 27, 12, tzinfo=UTC)
BERLIN = ZoneInfo("Europe/Berlin")


@pytest.fixture
def gateway(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeGateway]:
    """Yields a gateway; commands run in an empty folder, as someone with a token."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("AGENT_EXECUTOR_TOKEN", "a-token")
    with fake_gateway() as gateway:
        yield gateway


def run(gateway: FakeGateway, *arguments: str) -> Result:
    """Runs a command against the gateway."""
    return CliRunner().invoke(app, [*arguments, "--url", gateway.url])


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_shows_an_example(command: str) -> None:
    result = CliRunner().invoke(app, [*command.split(), "--help"])
    assert result.exit_code == 0
    assert f"agent-executor {command}" in result.stdout


def test_usage_asks_for_the_groups_and_how_they_went(gateway: FakeGateway) -> None:
    first = page(summary(2_000_000_000, agent_id="agent"))
    gateway.will_answer(
        *("GET", "/api/v1/usage", first),
        page(summary(1, agent_id="agent", day="2026-11-20"), token="next"),
        page(summary(1, agent_id="agent", day="2026-11-21")),
    )
    result = run(gateway, "usage", "--since", "7d", "--user", "ada", "--time-zone", "Europe/Berlin")
    assert (result.exit_code, result.stderr) == (0, "")
    assert "$2.0000" in result.stdout
    rows, over_time, further = gateway.asked
    assert rows.query["group_by"] == ["agent"]
    assert rows.query["user_id"] == ["ada"]
    assert rows.query["order_by"] == ["cost"]
    assert rows.query["time_zone"] == ["Europe/Berlin"]
    assert rows.authorization == "Bearer a-token"
    assert over_time.query["group_by"] == ["agent", "day"]
    assert further.query["page_token"] == ["next"]
    start, end = (datetime.fromisoformat(rows.query[key][0]) for key in ("start_time", "end_time"))
    assert end - start == timedelta(days=7)


def test_usage_by_time_is_in_its_order_and_needs_no_second_question(gateway: FakeGateway) -> None:
    gateway.will_answer("GET", "/api/v1/usage", page(summary(5, model="m", day="2026-11-20")))
    result = run(gateway, "usage", "--by", "model", "--by", "day")
    assert result.exit_code == 0
    (asked,) = gateway.asked
    assert asked.query["group_by"] == ["model", "day"]
    assert asked.query["order_by"] == ["time"]
    assert "2026-11-20" in result.stdout


def test_json_is_the_answer_and_nothing_else(gateway: FakeGateway) -> None:
    answer = page(summary(5))
    gateway.will_answer("GET", "/api/v1/usage", answer)
    gateway.will_answer("GET", "/api/v1/suggestions", SUGGESTIONS)
    gateway.will_answer("GET", "/api/v1/usage/runs/run_1", RUN_COST)
    usage = json.loads(run(gateway, "usage", "--json").stdout)
    assert usage == printed(answer, usage_service_pb2.SummarizeUsageResponse)
    suggested = json.loads(run(gateway, "suggestions", "--json").stdout)
    assert suggested == printed(SUGGESTIONS, suggestion_service_pb2.ListSuggestionsResponse)
    cost = json.loads(run(gateway, "usage", "run", "run_1", "--json").stdout)
    assert cost == printed(RUN_COST, usage_service_pb2.RunCost)


@pytest.mark.parametrize(
    "arguments",
    [
        ("--by", "day", "--by", "hour"),
        ("--by", "model", "--by", "model"),
        ("--since", "yesterday"),
        ("--since", "100000w"),
        ("--since", "2026-11-02", "--until", "2026-11-01"),
        ("--time-zone", "Europe/Nowhere"),
        ("--time-zone", "../etc/passwd"),
        ("--limit", "0"),
    ],
)
def test_usage_that_cannot_be_asked_for_is_refused(
    gateway: FakeGateway, arguments: tuple[str, ...]
) -> None:
    result = run(gateway, "usage", *arguments)
    assert result.exit_code == 2
    assert gateway.asked == []


def test_a_run_is_asked_for_by_its_name_whatever_that_is(gateway: FakeGateway) -> None:
    result = run(gateway, "usage", "run", "a/b ?ü")
    assert gateway.asked[0].path == "/api/v1/usage/runs/a%2Fb%20%3F%C3%BC"
    assert result.exit_code == 1
    assert result.stderr.count("\n") == 1
    assert "There is no such thing." in result.stderr


def test_an_export_is_written_once_it_is_whole(gateway: FakeGateway, tmp_path: Path) -> None:
    file = tmp_path / "usage.csv"
    gateway.will_answer("GET", "/api/v1/usage/export", b"id,cost\n1,2\n3,4\n")
    options = ("--output", str(file), "--format", "focus", "--run", "run_1")
    result = run(gateway, "usage", "export", *options)
    assert result.exit_code == 0
    assert result.stdout == f"{file}: 2 entries, 16 bytes\n"
    assert file.read_bytes() == b"id,cost\n1,2\n3,4\n"
    query = gateway.asked[0].query
    assert (query["format"], query["run_id"]) == (["focus"], ["run_1"])
    assert "start_time" not in query
    assert "time_zone" not in query

    gateway.breaks_off = True
    broken = run(gateway, "usage", "export", *options)
    assert broken.exit_code == 1
    assert "broke off" in broken.stderr
    assert file.read_bytes() == b"id,cost\n1,2\n3,4\n"
    assert [each.name for each in tmp_path.iterdir()] == ["usage.csv"]


def test_an_export_to_standard_output_is_nothing_but_the_file(gateway: FakeGateway) -> None:
    gateway.will_answer("GET", "/api/v1/usage/export", b"id,cost\n1,2\n")
    result = run(gateway, "usage", "export", "--output", "-")
    assert (result.exit_code, result.stdout) == (0, "id,cost\n1,2\n")


def test_an_export_that_cannot_be_written_says_so(gateway: FakeGateway, tmp_path: Path) -> None:
    gateway.will_answer("GET", "/api/v1/usage/export", b"id\n")
    path = tmp_path / "missing" / "usage.csv"
    result = run(gateway, "usage", "export", "--output", str(path))
    assert result.exit_code == 1
    assert f"{path} cannot be written: No such file or directory." in result.stderr


def test_a_refused_export_leaves_no_file(gateway: FakeGateway, tmp_path: Path) -> None:
    result = run(gateway, "usage", "export", "--output", str(tmp_path / "usage.csv"))
    assert result.exit_code == 1
    assert "There is no such thing." in result.stderr
    assert list(tmp_path.iterdir()) == []


def test_budgets_are_listed_to_the_end(gateway: FakeGateway) -> None:
    gateway.will_answer(
        *("GET", "/api/v1/budgets"),
        {"budgets": [budget("ada", 100, 10, 0)], "next_page_token": "next"},
        {"budgets": [budget("bob", 100, 10, 0)], "next_page_token": ""},
    )
    result = run(gateway, "budgets", "list")
    assert result.exit_code == 0
    assert [line.split()[0] for line in result.stdout.splitlines()[2:]] == ["ada", "bob"]
    assert [asked.query.get("page_token") for asked in gateway.asked] == [None, ["next"]]


def test_a_budget_is_set_and_deleted(gateway: FakeGateway) -> None:
    gateway.will_answer("PUT", "/api/v1/budgets/ada", budget("ada", 200, 0, 0, user_id="ada"))
    gateway.will_answer("DELETE", "/api/v1/budgets/ada", {})
    options = ("--limit", "2", "--window", "day", "--user", "ada", "--time-zone", "Europe/Berlin")
    result = run(gateway, "budgets", "set", "ada", *options, "--alert", "90", "--alert", "50")
    assert result.exit_code == 0
    assert "user ada per month" in result.stdout
    assert gateway.asked[0].body == {
        "limit_usd": 2.0,
        "window": "day",
        "user_id": "ada",
        "time_zone": "Europe/Berlin",
        "alert_percents": [50, 90],
    }
    result = run(gateway, "budgets", "delete", "ada")
    assert (result.exit_code, result.stdout) == (0, "ada is deleted.\n")
    assert run(gateway, "budgets", "set", "ada", "--limit", "-1").exit_code == 2
    assert run(gateway, "budgets", "delete", "bob").exit_code == 1


def test_budget_events_are_shown(gateway: FakeGateway) -> None:
    gateway.will_answer("GET", "/api/v1/budget-events", {"events": EVENTS})
    result = run(gateway, "budgets", "events", "--budget", "everyone")
    assert "reached 80 %" in result.stdout
    assert gateway.asked[0].query == {"budget_id": ["everyone"], "page_size": ["50"]}


def test_a_card_is_set_for_a_model_or_a_tool(gateway: FakeGateway) -> None:
    gateway.will_answer("POST", "/api/v1/rate-cards", CARD)
    model = ("--model", "claude-sonnet-5", "--rates", "1.6:8:0.16", "--tier", "200000:3.2:12")
    options = (
        "--processing",
        "batch",
        "--since",
        "2026-11-01",
        "--until",
        "2026-12-01T12:00+01:00",
    )
    assert run(gateway, "rate-cards", "set", *model, *options).exit_code == 0
    assert gateway.asked[0].body == {
        "model": "claude-sonnet-5",
        "rates": {
            "input_usd_per_million_tokens": 1.6,
            "output_usd_per_million_tokens": 8.0,
            "cache_read_usd_per_million_tokens": 0.16,
        },
        "tiers": [
            {
                "above_input_tokens": 200_000,
                "rates": {
                    "input_usd_per_million_tokens": 3.2,
                    "output_usd_per_million_tokens": 12.0,
                },
            }
        ],
        "processing": "batch",
        "valid_from": "2026-11-01T00:00:00Z",
        "valid_until": "2026-12-01T11:00:00Z",
    }
    assert run(gateway, "rate-cards", "set", "--tool", "search", "--fee", "0.01").exit_code == 0
    assert gateway.asked[1].body == {"tool_name": "search", "fee_usd": 0.01}


@pytest.mark.parametrize(
    "arguments",
    [
        (),
        ("--model", "m"),
        ("--tool", "t"),
        ("--model", "m", "--tool", "t", "--rates", "1:2", "--fee", "1"),
        ("--model", "m", "--rates", "1"),
        ("--model", "m", "--rates", "1:2:3:4:5:6"),
        ("--model", "m", "--rates", "1:-2"),
        ("--model", "m", "--rates", "1:nan"),
        ("--model", "m", "--rates", "one:two"),
        ("--model", "m", "--rates", "1:2", "--tier", "1:2"),
        ("--model", "m", "--rates", "1:2", "--tier", "x:1:2"),
    ],
)
def test_a_card_that_cannot_be_is_refused(gateway: FakeGateway, arguments: tuple[str, ...]) -> None:
    assert run(gateway, "rate-cards", "set", *arguments).exit_code == 2
    assert gateway.asked == []


def test_cards_are_listed_withdrawn_and_resolved(gateway: FakeGateway) -> None:
    path = f"/api/v1/rate-cards/{CARD['id'].replace('@', '%40')}"
    gateway.will_answer("GET", "/api/v1/rate-cards", {"rate_cards": [CARD], "next_page_token": ""})
    gateway.will_answer("DELETE", path, CARD)
    gateway.will_answer("GET", "/api/v1/rate-card", {"rate_card": CARD, "cost_nano_usd": "1600000"})
    assert CARD["id"] in run(gateway, "rate-cards", "list", "--model", "m").stdout
    assert run(gateway, "rate-cards", "withdraw", CARD["id"]).exit_code == 0
    options = ("--input-tokens", "1000", "--at", "2026-11-01", "--speed", "fast")
    result = run(gateway, "rate-cards", "resolve", "claude-sonnet-5", *options)
    assert "1,000 input and 0 output tokens cost $0.0016." in result.stdout
    assert gateway.asked[2].query == {
        "model": ["claude-sonnet-5"],
        "time": ["2026-11-01T00:00:00Z"],
        "speed": ["fast"],
        "input_tokens": ["1000"],
    }


def test_suggestions_are_shown(gateway: FakeGateway) -> None:
    gateway.will_answer("GET", "/api/v1/suggestions", SUGGESTIONS)
    result = run(gateway, "suggestions", "--agent", "agent_support", "--days", "7")
    assert "$13.67 a month" in result.stdout
    assert gateway.asked[0].query == {"agent_id": ["agent_support"], "days": ["7"]}
    assert run(gateway, "suggestions", "--days", "91").exit_code == 2


def test_no_platform_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("AGENT_EXECUTOR_TOKEN", "a-token")
    with fake_gateway() as gone:
        pass
    result = run(gone, "budgets", "list")
    assert result.exit_code == 1
    assert result.stdout == ""
    assert result.stderr == (
        "agent-executor: The platform cannot be reached: Connection refused.\n"
    )


def test_what_is_no_platform_is_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("AGENT_EXECUTOR_TOKEN", "a-token")
    with socket.create_server(("127.0.0.1", 0)) as server:

        def answer() -> None:
            connection, _ = server.accept()
            with connection:
                connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")

        thread = threading.Thread(target=answer)
        thread.start()
        url = f"http://127.0.0.1:{server.getsockname()[1]}"
        result = CliRunner().invoke(app, ["budgets", "list", "--url", url])
        thread.join()
    assert result.exit_code == 1
    assert "What answers is no platform" in result.stderr


def test_without_a_token_one_is_signed_with_the_local_keys(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("AGENT_EXECUTOR_TOKEN", raising=False)
    with pytest.raises(ConnectionFaultError, match="There are no keys"):
        connect(Target(data_dir=tmp_path))
    assert not (tmp_path / "keys").exists()
    ensure_keys(tmp_path)
    with fake_gateway() as gateway:
        result = run(
            gateway, "budgets", "list", "--data-dir", str(tmp_path), "--organization", "acme"
        )
        (asked,) = gateway.asked
    token = asked.authorization.removeprefix("Bearer ")
    claims = jwt.decode(token, options={"verify_signature": False})
    assert claims["org"] == "acme"
    assert result.exit_code == 1, "the gateway was told no answer"


@pytest.mark.parametrize(
    "url", ["http://example.com", "https://10.0.0.1:8443", "http://127.0.0.1.example.com"]
)
def test_a_token_of_the_local_keys_is_shown_to_no_other_machine(
    url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("AGENT_EXECUTOR_TOKEN", raising=False)
    ensure_keys(tmp_path)
    with pytest.raises(ConnectionFaultError, match="Set AGENT_EXECUTOR_TOKEN"):
        connect(Target(url=url, data_dir=tmp_path))


@pytest.mark.parametrize("url", ["http://example.com", "https://[::1]:8443"])
def test_a_token_that_is_given_is_for_any_machine(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AGENT_EXECUTOR_TOKEN", "a-token")
    connect(Target(url=url, data_dir=Path())).close()


@pytest.mark.parametrize(
    "url", ["", "example.com", "ftp://example.com", "http://x:99999", "http:///"]
)
def test_what_is_no_url_is_refused(url: str) -> None:
    with pytest.raises(ConnectionFaultError, match="is no URL of a platform"):
        connect(Target(url=url, data_dir=Path()))


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("90m", NOW - timedelta(minutes=90)),
        ("24h", NOW - timedelta(hours=24)),
        ("4w", NOW - timedelta(weeks=4)),
        ("2026-11-01", datetime(2026, 11, 1, tzinfo=BERLIN)),
        ("2026-11-01T12:00:00Z", datetime(2026, 11, 1, 12, tzinfo=UTC)),
    ],
)
def test_times_are_ago_or_iso(text: str, moment: datetime) -> None:
    assert parse_time(text, BERLIN, NOW, "--since") == moment


def test_what_is_no_time_is_refused() -> None:
    with pytest.raises(typer.BadParameter, match="is no time"):
        parse_time("tomorrow", BERLIN, NOW, "--since")


def test_buckets_are_those_of_the_time_zone_without_a_gap() -> None:
    # The night in which the clock is put back: 25 hours, one of which has the same name twice.
    start, end = datetime(2026, 10, 25, tzinfo=BERLIN), datetime(2026, 10, 26, tzinfo=BERLIN)
    hours = buckets_between(start, end, "hour", BERLIN)
    assert (hours[0], hours[-1], len(hours)) == ("2026-10-25T00", "2026-10-25T23", 24)
    days = buckets_between(start, end + timedelta(minutes=1), "day", BERLIN)
    assert days == ["2026-10-25", "2026-10-26"]
    assert buckets_between(start, end, "day", BERLIN) == ["2026-10-25"]
    late = start + timedelta(hours=10, minutes=30)
    assert buckets_between(late, end + timedelta(minutes=1), "day", BERLIN) == days
    assert buckets_between(start, start + timedelta(days=40), "month", BERLIN) == [
        *("2026-10", "2026-11", "2026-12")
    ]
    years = buckets_between(start - timedelta(days=365 * 100), end, "month", BERLIN)
    assert len(years) == 12 * 100
    kathmandu = ZoneInfo("Asia/Kathmandu")
    assert len(buckets_between(start, end, "hour", kathmandu)) == 26


def test_a_span_is_shown_by_a_fitting_bucket() -> None:
    spans = (
        timedelta(days=2),
        timedelta(days=2, seconds=1),
        timedelta(days=92),
        timedelta(days=93),
    )
    assert [bucket_for(NOW - span, NOW) for span in spans] == ["hour", "day", "day", "month"]
