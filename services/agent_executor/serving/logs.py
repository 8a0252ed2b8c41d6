"""Logs: one line per event on stderr, as JSON or for people, joined to traces and never secret.

Modules log through the standard library's ``logging``; structlog renders. Each line of a call
carries its trace id and organization; ``structlog.contextvars.bound_contextvars(run_id=...)`` adds
what else the lines of a task are about.
"""

from __future__ import annotations

import logging
import re
import sys
from collections.abc import MutableMapping
from typing import Any, Final

import structlog
from opentelemetry.trace import get_current_span
from structlog.typing import EventDict, Processor, WrappedLogger

from agent_executor.serving.security import current_security_context
from agent_executor.serving.settings import ProcessSettings

REDACTED: Final = "[redacted]"

_SECRET_NAMES: Final = re.compile(
    r"authorization|api_?key|password|passwd|secret|credential|private_key|^token$|_token$",
    re.IGNORECASE,
)
# Bearer headers, JSON Web Tokens, our own API keys and sessions, and provider keys as sk-...: the
# last line of defence, for secrets inside of texts and tracebacks.
_SECRET_TEXTS: Final = re.compile(
    r"(?i:bearer)\s+[\w.~+/=-]{8,}|eyJ[\w-]{8,}\.[\w-]+\.[\w-]*|\bsk-[\w-]{16,}|\bae[ks]_\w{16,}"
)


class _RedactingFormatter(structlog.stdlib.ProcessorFormatter):
    """Hides what looks like a credential anywhere in a rendered event."""

    def format(self, record: logging.LogRecord) -> str:
        return _SECRET_TEXTS.sub(REDACTED, super().format(record))


def configure_logs(service_name: str, settings: ProcessSettings) -> None:
    """Sends every log record of the process to stderr, in the format of the settings.

    ``DEBUG=true`` means every level and the console format, whatever else is set.
    """
    is_console = settings.debug or settings.log_format == "console"
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(formatter(service_name, is_console=is_console))
    level = logging.DEBUG if settings.debug else settings.log_level.upper()
    logging.basicConfig(handlers=[handler], level=level, force=True)
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )


def formatter(service_name: str, *, is_console: bool) -> logging.Formatter:
    """Returns what renders a record, of the standard library or of structlog, as one event."""

    def name_service(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
        event["service"] = service_name
        return event

    rendering: list[Processor] = (
        [
            # Without the values of variables, which the default of structlog would show.
            structlog.dev.ConsoleRenderer(
                colors=sys.stderr.isatty(), exception_formatter=structlog.dev.plain_traceback
            )
        ]
        if is_console
        else [structlog.processors.format_exc_info, structlog.processors.JSONRenderer(default=str)]
    )
    return _RedactingFormatter(
        foreign_pre_chain=[structlog.stdlib.ExtraAdder()],
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.stdlib.add_log_level,
            structlog.stdlib.add_logger_name,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            name_service,
            name_call,
            structlog.stdlib.ProcessorFormatter.remove_processors_meta,
            redact_names,
            *rendering,
        ],
    )


def name_call(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """Adds the trace and the organization of the running call."""
    span_context = get_current_span().get_span_context()
    if span_context.is_valid:
        event["trace_id"] = f"{span_context.trace_id:032x}"
        event["span_id"] = f"{span_context.span_id:016x}"
    security = current_security_context.get(None)
    if security is not None:
        event["organization_id"] = security.organization_id
    return event


def redact_names(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """Hides every value, at any depth, whose name says that it is a secret."""
    return _redacted(event)


def _redacted(values: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    for name, value in values.items():
        if _SECRET_NAMES.search(str(name)):
            values[name] = REDACTED
        elif isinstance(value, dict):
            values[name] = _redacted(dict(value))
    return values
