"""SQL for what a clock shows at a number of seconds, on each kind of database."""

from __future__ import annotations

from typing import Any, ClassVar, Final

from sqlalchemy import ColumnElement, Text
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import FunctionElement

from agent_executor.ledger.reports.usage_query import TimeBucket


class _ClockText(FunctionElement[str]):
    """Seconds since 1970-01-01, which may be negative, as text."""

    inherit_cache = True
    type = Text()
    sqlite_format: ClassVar[str]
    postgresql_format: ClassVar[str]


class _HourText(_ClockText):
    inherit_cache = True
    name = "hour_text"
    sqlite_format = "%Y-%m-%dT%H"
    postgresql_format = 'YYYY-MM-DD"T"HH24'


class _DayText(_ClockText):
    inherit_cache = True
    name = "day_text"
    sqlite_format = "%Y-%m-%d"
    postgresql_format = "YYYY-MM-DD"


class _MonthText(_ClockText):
    inherit_cache = True
    name = "month_text"
    sqlite_format = "%Y-%m"
    postgresql_format = "YYYY-MM"


_TEXTS: Final[dict[TimeBucket, type[_ClockText]]] = {
    "hour": _HourText,
    "day": _DayText,
    "month": _MonthText,
}


def clock_text(bucket: TimeBucket, seconds: ColumnElement[int]) -> ColumnElement[str]:
    """Returns the hour, day or month that a clock shows which is so far from 1970-01-01 00:00."""
    return _TEXTS[bucket](seconds)


@compiles(_ClockText, "sqlite")
def _for_sqlite(element: _ClockText, compiler: SQLCompiler, **options: Any) -> str:
    seconds = compiler.process(element.clauses, **options)
    return f"strftime('{element.sqlite_format}', {seconds}, 'unixepoch')"


@compiles(_ClockText, "postgresql")
def _for_postgresql(element: _ClockText, compiler: SQLCompiler, **options: Any) -> str:
    seconds = compiler.process(element.clauses, **options)
    return f"to_char(to_timestamp({seconds}) AT TIME ZONE 'UTC', '{element.postgresql_format}')"
