"""Reads a provider's counts, which nobody has checked."""

from __future__ import annotations

from typing import Any, Final

# Far above any model's context window. What is beyond it is no count, and no database keeps it.
COUNT_MAX: Final = 1_000_000_000


def count_of(counts: Any, name: str) -> int:
    """Returns a count of an object of the provider's JSON; 0 for what is none."""
    value = counts.get(name) if isinstance(counts, dict) else None
    return min(value, COUNT_MAX) if isinstance(value, int) and value > 0 else 0
