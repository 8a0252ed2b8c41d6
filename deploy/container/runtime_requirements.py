"""Print the part of a lock file that some packages need: ``python runtime_requirements.py LOCK NAME...``.

The lock holds the tools of development, too, which no image needs. A second lock could drift from
the first one; the comments that ``make lock`` leaves say who wants each package, and that is enough.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

PROJECT: Final = "agent-executor (pyproject.toml)"
"""What the lock calls those that the project itself wants at run time."""

_NAME: Final = re.compile(r"^([a-z0-9][a-z0-9.-]*)(?:\[[^\]]*\])?==", re.MULTILINE)
_WANTED_BY: Final = re.compile(r"^    #(?: via|  ) (\S.*)$", re.MULTILINE)


def needed(lock: str, roots: Iterable[str]) -> str:
    """Returns the entries of a lock that the roots want, directly or not, with their hashes.

    Args:
        lock: The text of the lock.
        roots: Names of packages, which are among the entries then, or ``PROJECT``.

    Raises:
        ValueError: A root is no package of the lock and wants none.
    """
    entries = dict(_entries(lock))
    wanted_by = {name: set(_WANTED_BY.findall(entry)) for name, entry in entries.items()}
    found = set(roots)
    for root in sorted(found):
        if root not in entries and not any(root in parents for parents in wanted_by.values()):
            msg = f"nothing in the lock is, or is for, {root!r}"
            raise ValueError(msg)
    before = -1
    while len(found) > before:
        before = len(found)
        found |= {name for name, parents in wanted_by.items() if parents & found}
    return "".join(entry for name, entry in entries.items() if name in found)


def _entries(lock: str) -> Iterator[tuple[str, str]]:
    starts = list(_NAME.finditer(lock))
    ends = [*(start.start() for start in starts[1:]), len(lock)]
    for start, end in zip(starts, ends, strict=True):
        yield start[1], lock[start.start() : end]


if __name__ == "__main__":
    sys.stdout.write(needed(Path(sys.argv[1]).read_text(encoding="utf-8"), sys.argv[2:]))
