from __future__ import annotations

from datetime import UTC, datetime

import pytest

from agent_executor.errors import InvalidArgumentError
from agent_executor.ledger.accounting.window import Window, check_time_zone, window_at


def ms(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp() * 1000)


@pytest.mark.parametrize(
    ("window", "now", "start", "end"),
    [
        ("day", "2026-02-23T10:00", "2026-02-23", "2026-02-24"),
        ("day", "2026-02-28T23:59:59.999", "2026-02-28", "2026-03-01"),
        ("day", "2026-03-01T00:00", "2026-03-01", "2026-03-02"),
        ("month", "2026-02-23T10:00", "2026-02-01", "2026-03-01"),
        ("month", "2024-02-29T10:00", "2024-02-01", "2024-03-01"),
        ("month", "2026-12-31T23:59:59.999", "2026-12-01", "2027-01-01"),
        ("month", "2026-01-01", "2026-01-01", "2026-02-01"),
    ],
)
def test_windows_are_of_the_calendar(window: Window, now: str, start: str, end: str) -> None:
    assert window_at(window, "UTC", ms(now)) == (ms(start), ms(end))


def test_the_total_has_no_end() -> None:
    total = window_at("total", "Europe/Berlin", ms("2026-02-23"))
    assert total.start_ms == 0
    assert total.resets_at_ms is None
    assert window_at("day", "UTC", 0).resets_at_ms == 86_400_000


@pytest.mark.parametrize(
    ("zone", "now", "start", "end"),
    [
        # Summer time begins and ends: 23 and 25 hours.
        ("Europe/Berlin", "2026-03-29T00:59:59", "2026-03-28T23:00", "2026-03-29T22:00"),
        ("Europe/Berlin", "2026-03-29T21:59:59", "2026-03-28T23:00", "2026-03-29T22:00"),
        ("Europe/Berlin", "2026-10-25T12:00", "2026-10-24T22:00", "2026-10-25T23:00"),
        ("America/New_York", "2026-11-01T06:30", "2026-11-01T04:00", "2026-11-02T05:00"),
        # The clocks are set from midnight to one.
        ("America/Santiago", "2026-09-06T03:59:59", "2026-09-05T04:00", "2026-09-06T04:00"),
        ("America/Santiago", "2026-09-06T04:00", "2026-09-06T04:00", "2026-09-07T03:00"),
        # From one back to midnight, which comes twice.
        ("America/Havana", "2024-11-03T05:30", "2024-11-03T04:00", "2024-11-04T05:00"),
        # Half an hour of summer time; three quarters of an hour from UTC.
        ("Australia/Lord_Howe", "2026-04-04T14:00", "2026-04-04T13:00", "2026-04-05T13:30"),
        ("Asia/Kathmandu", "2026-02-23T18:14:59", "2026-02-22T18:15", "2026-02-23T18:15"),
    ],
)
def test_days_are_of_a_time_zone(zone: str, now: str, start: str, end: str) -> None:
    assert window_at("day", zone, ms(now)) == (ms(start), ms(end))


def test_months_are_of_a_time_zone() -> None:
    window = window_at("month", "Europe/Berlin", ms("2026-03-31T22:00"))
    assert window == (ms("2026-03-31T22:00"), ms("2026-04-30T22:00"))
    assert window_at("month", "Europe/Berlin", ms("2026-03-31T21:59")) == (
        ms("2026-02-28T23:00"),
        ms("2026-03-31T22:00"),
    )


@pytest.mark.parametrize(
    "name", ["", "Europe", "Europe/Atlantis", "../etc/passwd", "localtime", "UTC\0", "x" * 500]
)
def test_an_unknown_time_zone_is_refused(name: str) -> None:
    with pytest.raises(InvalidArgumentError):
        check_time_zone(name)
