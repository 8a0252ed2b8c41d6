"""The days and months of a time zone, in which a budget's spending is counted."""

from __future__ import annotations

import zoneinfo
from datetime import datetime, timedelta
from functools import cache, lru_cache
from typing import Final, Literal, NamedTuple, TypeAlias

from agent_executor.errors import InvalidArgumentError

Window: TypeAlias = Literal["total", "day", "month"]

# Later than any time that is stored.
_NEVER_MS: Final = 2**63 - 1
_LONGEST_MONTH: Final = timedelta(days=31)


class WindowBounds(NamedTuple):
    """When a window begins and ends, in milliseconds since 1970-01-01 UTC.

    Attributes:
        start_ms: Its first millisecond; 0 for ``total``. It names the window.
        end_ms: The first one after it, which is when the next begins.
    """

    start_ms: int
    end_ms: int

    @property
    def resets_at_ms(self) -> int | None:
        """When it ends; None for ``total``."""
        return None if self.end_ms == _NEVER_MS else self.end_ms


_TOTAL: Final = WindowBounds(0, _NEVER_MS)


def window_at(window: Window, time_zone: str, at_ms: int) -> WindowBounds:
    """Returns the window that holds a time.

    A day has 23 or 25 hours when the clocks are changed, and begins with the first moment of its
    date even if that is not midnight.

    Raises:
        InvalidArgumentError: There is no such time zone.
    """
    if window == "total":
        return _TOTAL
    local = datetime.fromtimestamp(at_ms // 1000, check_time_zone(time_zone))
    day = 1 if window == "month" else local.day
    return _window_from(window, time_zone, local.year, local.month, day)


@cache
def check_time_zone(name: str) -> zoneinfo.ZoneInfo:
    """Returns the IANA time zone of a name.

    Raises:
        InvalidArgumentError: There is none.
    """
    # What else lies among the files, such as `localtime`, means something else on each machine.
    if name not in _time_zone_names():
        raise InvalidArgumentError(f"There is no time zone {name[:64]!r}.")
    return zoneinfo.ZoneInfo(name)


@cache
def _time_zone_names() -> frozenset[str]:
    return frozenset(zoneinfo.available_timezones()) - {"localtime"}


@lru_cache(maxsize=4096)
def _window_from(window: Window, time_zone: str, year: int, month: int, day: int) -> WindowBounds:
    # Where the clocks skip midnight, it is taken for the moment at which they do; where they repeat
    # it, for the first one.
    start = datetime(year, month, day, tzinfo=check_time_zone(time_zone))
    if window == "month":
        end = (start + _LONGEST_MONTH).replace(day=1)
    else:
        end = start + timedelta(days=1)
    return WindowBounds(_to_ms(start), _to_ms(end))


def _to_ms(moment: datetime) -> int:
    return int(moment.timestamp()) * 1000
