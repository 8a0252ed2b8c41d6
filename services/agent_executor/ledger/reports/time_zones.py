"""What a time zone's clocks show: hours, days and months, also across changes of the clock."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import lru_cache
from itertools import chain
from typing import Final

import msgspec

from agent_executor.ledger.accounting.rollup import DAY_MS
from agent_executor.ledger.accounting.window import check_time_zone
from agent_executor.ledger.reports.usage_query import TimeBucket

_EPOCH: Final = datetime(1970, 1, 1)  # noqa: DTZ001 -- stands for whatever a clock shows
_LABEL_LENGTHS: Final[dict[TimeBucket, int]] = {"hour": 13, "day": 10, "month": 7}
# Clocks have been set for all since 1883 at the earliest, and nobody knows what they will show in
# some centuries. Outside these years the offset of the nearest one is taken.
_FIRST_MS: Final = int(datetime(1880, 1, 1, tzinfo=UTC).timestamp()) * 1000
_LAST_MS: Final = int(datetime(2200, 1, 1, tzinfo=UTC).timestamp()) * 1000


class Offset(msgspec.Struct, frozen=True):
    """From a time on, how far clocks are ahead of UTC, in milliseconds."""

    from_ms: int
    offset_ms: int


def offsets(name: str, start_ms: int, end_ms: int) -> tuple[Offset, ...]:
    """Returns the offsets that hold from ``start_ms`` until before ``end_ms``, in order.

    Raises:
        InvalidArgumentError: There is no time zone of this name.
    """
    last_ms = max(start_ms, end_ms - 1)
    first_day, last_day = _clamp(start_ms) // DAY_MS, _clamp(last_ms) // DAY_MS
    changes = (_changes_of_day(name, day) for day in range(first_day, last_day + 1))
    within = (one for one in chain(*changes) if start_ms < one.from_ms <= last_ms)
    return Offset(start_ms, _offset_ms(name, start_ms)), *within


def label(bucket: TimeBucket, time_ms: int, zone_offsets: tuple[Offset, ...]) -> str:
    """Returns the hour, day or month that clocks show at a time."""
    ahead_ms = next(
        (one.offset_ms for one in reversed(zone_offsets) if one.from_ms <= time_ms),
        zone_offsets[0].offset_ms,
    )
    shown = _EPOCH + timedelta(milliseconds=time_ms + ahead_ms)
    return shown.isoformat()[: _LABEL_LENGTHS[bucket]]


def _clamp(time_ms: int) -> int:
    return min(max(time_ms, _FIRST_MS), _LAST_MS)


def _offset_ms(name: str, time_ms: int) -> int:
    moment = datetime.fromtimestamp(_clamp(time_ms) // 1000, check_time_zone(name))
    return int((moment.utcoffset() or timedelta()).total_seconds()) * 1000


@lru_cache(maxsize=20_000)
def _changes_of_day(name: str, day: int) -> tuple[Offset, ...]:
    """Returns the changes of the clock on a UTC day, which are hardly ever more than one."""
    start, end = day * DAY_MS, (day + 1) * DAY_MS
    before, after = _offset_ms(name, start), _offset_ms(name, end)
    if before == after:
        return ()
    # The first second at which clocks show what they show at the end of the day.
    low, high = start // 1000, end // 1000
    while high - low > 1:
        middle = (low + high) // 2
        if _offset_ms(name, middle * 1000) == before:
            low = middle
        else:
            high = middle
    return (Offset(high * 1000, after),)
