"""The port to what was recorded, for those who look for savings."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Protocol

from agent_executor.ledger.suggestions.evidence import (
    CallSums,
    HistorySums,
    Period,
    PrefixRepeats,
    RunShape,
    Spending,
    ToolRepeats,
)
from agent_executor.ledger.suggestions.suggestion import Evidence, Kind, Subject


class EvidenceStore(Protocol):
    """Adds up what an organization used in a period.

    No method returns more than ``MAX_GROUPS`` rows, of more those that cost most, nor holds up the
    writer or the event loop, however long it takes. A call that was rated again by different cards
    is left out. ``edges`` are ascending numbers of input tokens, between which the bands are.
    """

    async def occurrence_of_newest(self, period: Period, number: int) -> int | None:
        """Returns when the entry with this number from the newest occurred, the newest being 1.

        Entries of all agents are counted. None if there are fewer.
        """
        ...

    async def spending(self, period: Period) -> Spending:
        """Returns what all entries cost, and by which cards."""
        ...

    async def call_sums(self, period: Period, edges: Sequence[int]) -> list[CallSums]:
        """Returns model calls, by agent, model, card and band."""
        ...

    async def run_shapes(self, period: Period) -> list[RunShape]:
        """Returns how long runs are, by agent. Calls without an agent or a run do not count."""
        ...

    async def prefix_repeats(self, period: Period, edges: Sequence[int]) -> list[PrefixRepeats]:
        """Returns prompts whose beginning repeats within an hour. Calls at batch price do not count.

        Those of fewer than ``MIN_CACHEABLE_TOKENS`` neither.
        """
        ...

    async def history_sums(self, period: Period, edges: Sequence[int]) -> list[HistorySums]:
        """Returns model calls in long runs. A repeated attempt of a call does not count."""
        ...

    async def tool_repeats(self, period: Period) -> list[ToolRepeats]:
        """Returns tools whose repeated calls cost something."""
        ...

    async def evidence(
        self, period: Period, kind: Kind, subjects: Collection[Subject]
    ) -> Mapping[Subject, Evidence]:
        """Returns the runs in which suggestions of one kind were found.

        Args:
            period: As looked at.
            kind: What was found. Of ``prompt_caching`` the subject's part is the prefix, of
                ``tier_cliff`` the start of the tier; other kinds have none.
            subjects: What they are about.
        """
        ...
