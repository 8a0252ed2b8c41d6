from __future__ import annotations

import io
import json
import logging
from typing import Any

import pytest
from opentelemetry.trace import get_current_span, use_span
from pydantic import SecretStr

from agent_executor.serving.logs import formatter
from agent_executor.serving.redaction import REDACTED
from agent_executor.serving.security import SecurityContext, current_security_context
from agent_executor.serving.telemetry import context_from_traceparent
from tests.unit.serving.tokens import Issuer
from tests.unit.serving.trace_context import SPAN_ID, TRACE_ID, TRACEPARENT


class Log:
    """A logger of its own, so that tests do not change the process's."""

    def __init__(self, *, is_console: bool) -> None:
        self._stream = io.StringIO()
        self._handler = logging.StreamHandler(self._stream)
        self._handler.setFormatter(formatter("ledger", is_console=is_console))
        self.logger = logging.getLogger("agent_executor.sample").getChild(str(id(self)))
        self.logger.propagate = False
        self.logger.setLevel(logging.DEBUG)
        self.logger.addHandler(self._handler)

    @property
    def text(self) -> str:
        return self._stream.getvalue()

    @property
    def event(self) -> dict[str, Any]:
        (line,) = self.text.splitlines()
        event: dict[str, Any] = json.loads(line)
        return event


@pytest.fixture
def log() -> Log:
    return Log(is_console=False)


@pytest.fixture
def console() -> Log:
    return Log(is_console=True)


def fail_with_a_secret_in_reach() -> None:
    password = "correct horse"
    raise ValueError(f"cannot log in, {len(password)} characters")


def test_an_event_is_one_line_of_json(log: Log) -> None:
    log.logger.warning("the budget %s is over", "b-1", extra={"excess_nano_usd": 5})
    event = log.event
    assert event["event"] == "the budget b-1 is over"
    assert event["level"] == "warning"
    assert event["logger"].startswith("agent_executor.sample.")
    assert event["service"] == "ledger"
    assert event["excess_nano_usd"] == 5
    assert event["timestamp"].endswith("Z")


def test_a_line_break_does_not_make_a_second_event(log: Log) -> None:
    log.logger.info('x\n{"event": "forged"}')
    assert log.event["event"] == 'x\n{"event": "forged"}'


def test_an_event_of_a_call_names_its_trace_organization_and_run(log: Log) -> None:
    span = get_current_span(context_from_traceparent(TRACEPARENT))
    token = current_security_context.set(SecurityContext("organization-1", "user-1", frozenset()))
    try:
        with use_span(span):
            log.logger.info("running", extra={"run_id": "run-1"})
    finally:
        current_security_context.reset(token)
    event = log.event
    assert (event["trace_id"], event["span_id"]) == (TRACE_ID, SPAN_ID)
    assert (event["organization_id"], event["run_id"]) == ("organization-1", "run-1")


def test_outside_a_call_there_is_no_trace(log: Log) -> None:
    log.logger.info("starting")
    assert "trace_id" not in log.event
    assert "organization_id" not in log.event


@pytest.mark.parametrize(
    "name", ["authorization", "Authorization", "api_key", "apikey", "db_password", "token"]
)
def test_a_value_whose_name_tells_a_secret_is_hidden(log: Log, name: str) -> None:
    log.logger.info("called", extra={name: "opensesame", "nested": {name: "opensesame"}})
    assert log.event[name] == REDACTED
    assert "opensesame" not in log.text


def test_what_json_cannot_hold_is_logged_all_the_same(log: Log) -> None:
    # It is not logged, since pytest keeps what is, and its workers cannot send half a character.
    extra = {"count": 2**70, "by": {1: object}}
    record = log.logger.makeRecord(
        "a", logging.INFO, "", 0, "half a character: \ud800", (), None, extra=extra
    )
    event = json.loads(formatter("ledger", is_console=False).format(record))
    assert event["event"] == "half a character: \ud800"
    assert event["count"] == 2**70


def test_token_counts_are_no_secrets(log: Log) -> None:
    log.logger.info("called", extra={"input_tokens": 12, "max_tokens": 4096})
    assert (log.event["input_tokens"], log.event["max_tokens"]) == (12, 4096)


@pytest.mark.parametrize(
    "secret",
    [
        f"Bearer {Issuer().token()}",
        Issuer().token(),
        "sk-ant-api03-abcdefghijklmnop",
        "bearer 0123456789abcdef",
        f"aek_{'7' * 48}",
        f"aes_{'7' * 48}",
    ],
)
def test_a_credential_inside_of_a_text_is_hidden(log: Log, console: Log, secret: str) -> None:
    for each in (log, console):
        each.logger.error("the header was '%s'", secret)
        assert REDACTED in each.text
        assert secret.rsplit(" ", maxsplit=1)[-1] not in each.text


def test_a_secret_setting_is_hidden(log: Log) -> None:
    log.logger.info("configured with %s", SecretStr("opensesame"))
    assert "opensesame" not in log.text


def test_an_exception_is_logged_with_its_traceback_and_without_variables(
    log: Log, console: Log
) -> None:
    for each in (log, console):
        try:
            fail_with_a_secret_in_reach()
        except ValueError:
            each.logger.exception("login failed")
        assert "fail_with_a_secret_in_reach" in each.text
        assert "cannot log in, 13 characters" in each.text
        assert "correct horse" not in each.text
    assert "Traceback" in log.event["exception"]


def test_the_console_is_for_people(console: Log) -> None:
    console.logger.info("serving gRPC on 127.0.0.1:50051")
    assert "serving gRPC on 127.0.0.1:50051" in console.text
    assert "{" not in console.text


def test_the_line_of_a_run_can_be_read_in_the_console(console: Log) -> None:
    told = {"run_id": "run-1", "state": "completed", "duration_seconds": 0.5, "cost_nano_usd": 9}
    console.logger.info("run ended", extra=told)
    (line,) = console.text.splitlines()
    for name, value in told.items():
        assert f"{name}={value}" in line
    assert "[info     ] run ended" in line


def test_on_a_console_text_of_others_begins_no_line_and_commands_no_terminal(console: Log) -> None:
    error = ValueError("of a tool: \x1b[2J\x07")
    console.logger.error("failed: %s", "a\n[info] forged\x1b[2J\r\u202e", exc_info=error)
    first, *traceback = console.text.splitlines()
    assert r"failed: a\n[info] forged\x1b[2J\r\u202e" in first
    assert traceback[-1] == r"ValueError: of a tool: \x1b[2J\x07"
