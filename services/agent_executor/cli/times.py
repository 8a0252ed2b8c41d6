"""Times as a person gives them to a command, and the buckets that lie between two of them."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Literal, TypeAlias
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import typer

Bucket: TypeAlias = Literal["hour", "day", "month"]

_AGO = re.compile(r"(\d{1,5})([mhdw])")
_UNITS = {"m": "minutes", "h": "hours", "d": "days", "w": "weeks"}
_HOURS_SHOWN = timedelta(days=2)
_DAYS_SHOWN = timedelta(days=92)
_FORMATS: dict[Bucket, str] = {"hour": "%Y-%m-%dT%H", "day": "%Y-%m-%d", "month": "%Y-%m"}


def parse_time_zone(name: str) -> ZoneInfo:
    """Returns a time zone.

    Raises:
        typer.BadParameter: There is none of this name.
    """
    try:
        return ZoneInfo(name or "UTC")
    except (ZoneInfoNotFoundError, ValueError, OSError):
        msg = f"{name!r} is no time zone; it looks like Europe/Berlin."
        raise typer.BadParameter(msg, param_hint="--time-zone") from None


def parse_time(text: str, zone: ZoneInfo, now: datetime, option: str) -> datetime:
    """Returns a time: so long ago, as 90m, 24h, 7d or 4w, or a date or time of ISO 8601.

    Args:
        text: What was given.
        zone: The time zone of a time that names none.
        now: The present.
        option: Where it was given.

    Raises:
        typer.BadParameter: It is none of these.
    """
    ago = _AGO.fullmatch(text)
    try:
        if ago is not None:
            return now - timedelta(**{_UNITS[ago[2]]: int(ago[1])})
        moment = datetime.fromisoformat(text)
        return moment if moment.tzinfo is not None else moment.replace(tzinfo=zone)
    except (ValueError, OverflowError):
        msg = f"{text!r} is no time; it looks like 7d, 24h, 2026-11-01 or 2026-11-01T12:00."
        raise typer.BadParameter(msg, param_hint=option) from None


def rfc_3339(moment: datetime) -> str:
    """Returns a time as the API takes it."""
    return moment.astimezone(UTC).isoformat().replace("+00:00", "Z")


def bucket_for(start: datetime, end: datetime) -> Bucket:
    """Returns the bucket by which a span of time is shown."""
    span = end - start
    if span <= _HOURS_SHOWN:
        return "hour"
    return "day" if span <= _DAYS_SHOWN else "month"


def buckets_between(start: datetime, end: datetime, bucket: Bucket, zone: ZoneInfo) -> list[str]:
    """Returns the names of all buckets of a span, in their order, as the ledger names them."""
    # In UTC, since an hour of local time may be there twice, or not at all. Some zones are half an
    # hour or a quarter off the others.
    steps = {"hour": timedelta(minutes=15), "day": timedelta(hours=1), "month": timedelta(days=1)}
    moment, last = start.astimezone(UTC), end.astimezone(UTC) - timedelta(microseconds=1)
    moments = [last]
    while last > moment:
        moments.append(moment)
        moment += steps[bucket]
    names = (each.astimezone(zone).strftime(_FORMATS[bucket]) for each in sorted(moments))
    return list(dict.fromkeys(names))
