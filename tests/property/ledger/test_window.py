from __future__ import annotations

import zoneinfo

from hypothesis import given
from hypothesis import strategies as st

from agent_executor.ledger.accounting.window import Window, window_at

# `localtime` is not the same on each machine, so it is none of the ledger's.
zones = st.sampled_from(sorted(zoneinfo.available_timezones() - {"localtime"}))
windows: st.SearchStrategy[Window] = st.sampled_from(["day", "month"])
# 2020 to 2030: entries are not older, and times much ahead are refused.
times_ms = st.integers(1_577_836_800_000, 1_893_456_000_000)


@given(windows, zones, times_ms)
def test_windows_follow_one_another_without_gap_or_overlap(
    window: Window, zone: str, at_ms: int
) -> None:
    found = window_at(window, zone, at_ms)
    assert found.start_ms <= at_ms < found.end_ms
    assert window_at(window, zone, found.start_ms) == found
    assert window_at(window, zone, found.end_ms - 1) == found
    assert window_at(window, zone, found.end_ms).start_ms == found.end_ms
    assert window_at(window, zone, found.start_ms - 1).end_ms == found.start_ms
    # Times are rounded down to quarters of an hour when balances are looked up.
    assert found.start_ms % 900_000 == 0
