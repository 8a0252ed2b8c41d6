"""Logs: one line per event on stderr, as JSON or for people, joined to traces and never secret.

Modules log through the standard library's ``logging``. Each line of a call carries its trace id and
organization; what else it is about is in ``extra``. A line of JSON takes about 20 microseconds, since
each run and each tool call has one; for people structlog renders, which takes three times as long.
"""

from __future__ import annotations

import json
import logging
import sys
import traceback
from datetime import UTC, datetime
from typing import Any, Final, TypeAlias

import msgspec
import structlog
from opentelemetry.trace import get_current_span

from agent_executor.serving.redaction import (
    REDACTED,
    is_secret_name,
    redacted_names,
    redacted_text,
)
from agent_executor.serving.security import current_security_context
from agent_executor.serving.settings import ProcessSettings

Event: TypeAlias = dict[str, Any]

# What every record has; all else came with ``extra``.
_RECORD_FIELDS: Final = frozenset(
    (*vars(logging.makeLogRecord({})), "message", "asctime", "taskName")
)

# Control characters, those that turn the direction of writing, and all that begins a line.
_OF_ONE_LINE: Final = {
    code: ascii(chr(code))[1:-1]
    for code in (*range(0x20), *range(0x7F, 0xA0), *range(0x2028, 0x202F), *range(0x2066, 0x206A))
}
_OF_LINES: Final = {code: text for code, text in _OF_ONE_LINE.items() if chr(code) not in "\n\t"}


class JsonFormatter(logging.Formatter):
    """Renders each record as one line of JSON."""

    def __init__(self, service_name: str) -> None:
        super().__init__()
        self._service_name = service_name
        self._encoder = msgspec.json.Encoder(enc_hook=str)

    def format(self, record: logging.LogRecord) -> str:
        """See ``logging.Formatter``."""
        event = event_of(record, self._service_name)
        try:
            line = self._encoder.encode(event).decode()
        except (UnicodeError, OverflowError, TypeError, ValueError):
            # Half a character, or an integer of more than 64 bits.
            line = json.dumps(event, default=str)
        return redacted_text(line)


class ConsoleFormatter(logging.Formatter):
    """Renders each record for people, with its traceback but without the values of variables.

    What is logged may hold what others wrote: it begins no line, and commands no terminal.
    """

    def __init__(self, service_name: str) -> None:
        super().__init__()
        self._service_name = service_name
        self._render = structlog.dev.ConsoleRenderer(
            colors=sys.stderr.isatty(), exception_formatter=structlog.dev.plain_traceback
        )

    def format(self, record: logging.LogRecord) -> str:
        """See ``logging.Formatter``."""
        event = event_of(record, self._service_name)
        event["event"] = event["event"].translate(_OF_ONE_LINE)
        for name in ("exception", "stack"):
            if name in event:
                event[name] = event[name].translate(_OF_LINES)
        return redacted_text(self._render(None, record.levelname.lower(), event))


def configure_logs(service_name: str, settings: ProcessSettings) -> None:
    """Sends every log record of the process to stderr, in the format of the settings.

    ``DEBUG=true`` means every level and the console format, whatever else is set.
    """
    is_console = settings.debug or settings.log_format == "console"
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(formatter(service_name, is_console=is_console))
    level = logging.DEBUG if settings.debug else settings.log_level.upper()
    logging.basicConfig(handlers=[handler], level=level, force=True)
    # No line shows them, and to find them out takes as long as to render it.
    logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False


def formatter(service_name: str, *, is_console: bool) -> logging.Formatter:
    """Returns what renders a record as one event."""
    return ConsoleFormatter(service_name) if is_console else JsonFormatter(service_name)


def event_of(record: logging.LogRecord, service_name: str) -> Event:
    """Returns what a record says, without what its names say to be secret."""
    event: Event = {
        "timestamp": _timestamp(record.created),
        "level": record.levelname.lower(),
        "event": record.getMessage(),
        "logger": record.name,
        "service": service_name,
    }
    span_context = get_current_span().get_span_context()
    if span_context.is_valid:
        event["trace_id"] = f"{span_context.trace_id:032x}"
        event["span_id"] = f"{span_context.span_id:016x}"
    security = current_security_context.get(None)
    if security is not None:
        event["organization_id"] = security.organization_id
    for name, value in vars(record).items():
        if name not in _RECORD_FIELDS:
            event[name] = REDACTED if is_secret_name(name) else redacted_names(value)
    if record.exc_info and record.exc_info[0] is not None:
        event["exception"] = "".join(traceback.format_exception(*record.exc_info)).rstrip()
    if record.stack_info:
        event["stack"] = record.stack_info
    return event


def _timestamp(created: float) -> str:
    # Three times as fast as strftime.
    return f"{datetime.fromtimestamp(created, UTC).isoformat(timespec='microseconds')[:-6]}Z"
