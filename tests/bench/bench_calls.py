"""How many function calls a run takes in Python: a figure that no load of the machine moves.

Processor time on a shared machine wavers by a tenth and more; what a change adds to each run shows
here to the call. Counted are the calls of one run with one tool call in the library, all three
services included; then the functions that are called most often are listed.

    python -m tests.bench.bench_calls [--functions N]
"""

from __future__ import annotations

import argparse
import threading
from collections import Counter
from types import FrameType
from typing import Any, Final

from tests.bench.bench_execute import QUESTION, library_agent

WARM_UP_RUNS: Final = 20
RUNS: Final = 50


def count_calls() -> Counter[str]:
    """Returns how often each function was called in so many runs, of Python's and of C's."""
    counts: Counter[str] = Counter()

    def count(frame: FrameType, event: str, called: Any) -> None:
        if event == "call":
            counts[f"{frame.f_globals.get('__name__')}.{frame.f_code.co_qualname}"] += 1
        elif event == "c_call":
            counts[getattr(called, "__qualname__", str(called))] += 1

    # The library has a thread of its own, which is begun after this.
    threading.setprofile(count)
    try:
        with library_agent() as executor:
            for _ in range(WARM_UP_RUNS):
                executor.execute(QUESTION)
            counts.clear()
            for _ in range(RUNS):
                executor.execute(QUESTION)
            return counts.copy()
    finally:
        threading.setprofile(None)


def main() -> int:
    """Counts and prints."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--functions", type=int, default=20, help="how many are listed")
    options = parser.parse_args()
    counts = count_calls()
    print(f"calls per run, of Python's and C's functions: {counts.total() / RUNS:.0f}")
    for name, count in counts.most_common(options.functions):
        print(f"{count / RUNS:8.1f} {name}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
