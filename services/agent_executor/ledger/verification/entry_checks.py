"""What follows from the entries of one organization: balances, sums by hour, and costs."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Final

import msgspec

from agent_executor.ledger.accounting.book import BalanceKey, Rollup, StoredBudget, rollups_of
from agent_executor.ledger.accounting.entry import UsageEntry
from agent_executor.ledger.accounting.needs import Scope, scope_keys
from agent_executor.ledger.accounting.rollup import DAY_MS, RollupKey, SpendingKey, spending_key
from agent_executor.ledger.accounting.token_usage import TokenCounts
from agent_executor.ledger.accounting.window import window_at
from agent_executor.ledger.prices.rate_card import RateCard
from agent_executor.ledger.verification.difference import Difference, DifferenceKind

_NOTHING: Final = "nothing"
_NO_TOKENS: Final = TokenCounts()
_KINDS_WITH_TOKENS: Final = frozenset({"model_call", "correction"})
_KINDS_WITHOUT_TOKENS: Final = frozenset({"tool_call", "rerating", "adjustment"})
_KINDS_THAT_CORRECT: Final = frozenset({"correction", "rerating"})
# Scopes whose budgets are remembered.
_MAX_SCOPES: Final = 10_000


class BudgetFinder:
    """Finds the budgets of one organization that apply to who spends."""

    def __init__(self, budgets: Iterable[StoredBudget]) -> None:
        self._by_scope: defaultdict[Scope, list[StoredBudget]] = defaultdict(list)
        for stored in budgets:
            budget = stored.budget
            self._by_scope[budget.user_id, budget.agent_id, budget.run_id].append(stored)
        self._found: dict[Scope, list[StoredBudget]] = {}

    def find(self, scope: Scope) -> list[StoredBudget]:
        """Returns the budgets that apply."""
        if not self._by_scope:
            return []
        found = self._found.get(scope)
        if found is None:
            if len(self._found) == _MAX_SCOPES:
                self._found.clear()
            found = [one for key in scope_keys(scope) for one in self._by_scope.get(key, ())]
            self._found[scope] = found
        return found


class BalanceCheck:
    """Sums up what is settled in each window of each budget."""

    def __init__(self, finder: BudgetFinder) -> None:
        self._finder = finder
        self._sums: defaultdict[BalanceKey, int] = defaultdict(int)

    def add(self, entry: UsageEntry) -> None:
        """Counts an entry."""
        for stored in self._finder.find((entry.user_id, entry.agent_id, entry.run_id)):
            budget = stored.budget
            window = window_at(budget.window, budget.time_zone, entry.occurred_at_ms)
            if window.start_ms >= stored.counted_from_ms:
                self._sums[budget.id, window.start_ms] += entry.cost_nano_usd

    def differences(
        self, organization_id: str, stored: Mapping[BalanceKey, int]
    ) -> Iterator[Difference]:
        """Yields the balances that are not as summed up; one that is missing is zero."""
        for key in sorted(self._sums.keys() | stored.keys()):
            settled, derived = stored.get(key, 0), self._sums.get(key, 0)
            if settled != derived:
                what = f"budget {key[0]!r}, window from {key[1]}"
                yield Difference(organization_id, "balance", what, str(settled), str(derived))


class RollupCheck:
    """Sums up each day of entries that come in the order of their time."""

    def __init__(self, organization_id: str, stored: Iterator[tuple[RollupKey, Rollup]]) -> None:
        """Begins.

        Args:
            organization_id: Whose they are.
            stored: The sums that are stored, ordered by when their spans begin.
        """
        self._organization_id = organization_id
        self._stored = stored
        self._next = next(stored, None)
        self._day_ms: int | None = None
        self._spending: dict[SpendingKey, Rollup] = {}

    def add(self, entry: UsageEntry) -> Iterator[Difference]:
        """Counts an entry; yields what differs in the days before its own."""
        day_ms = entry.occurred_at_ms // DAY_MS * DAY_MS
        if day_ms != self._day_ms:
            yield from self._compare(day_ms)
            self._day_ms = day_ms
        key = spending_key(entry)
        sums = self._spending.get(key)
        if sums is None:
            sums = self._spending[key] = Rollup()
        sums.add(entry)

    def end(self) -> Iterator[Difference]:
        """Yields what differs in the days that are left."""
        yield from self._compare(None)

    def _compare(self, before_ms: int | None) -> Iterator[Difference]:
        stored: dict[RollupKey, Rollup] = {}
        while self._next is not None and (before_ms is None or self._next[0].start_ms < before_ms):
            stored[self._next[0]] = self._next[1]
            self._next = next(self._stored, None)
        sums = rollups_of(self._spending)
        for key in sorted(stored.keys() | sums.keys()):
            was, derived = stored.get(key), sums.get(key)
            if was != derived:
                yield Difference(
                    self._organization_id,
                    "rollup",
                    f"{key.span_hours} h from {key.start_ms} of {key.detail}, {_who(key)}",
                    _sums(was),
                    _sums(derived),
                )
        self._spending = {}


def check_price(
    entry: UsageEntry, cards: Mapping[str, RateCard], tool_fees: Mapping[str, int]
) -> Iterator[Difference]:
    """Yields what is wrong with an entry by itself; corrections are checked by ``check_chain``.

    Args:
        entry: The entry.
        cards: Rate cards by id.
        tool_fees: Fees of the organization's tools in nano-dollars, by the id of their card.
    """
    if entry.kind in _KINDS_WITHOUT_TOKENS and entry.usage != _NO_TOKENS:
        yield _of_entry(entry, "entry", str(entry.usage.tokens_used), f"no tokens: {entry.kind}")
    elif entry.kind not in _KINDS_WITHOUT_TOKENS | _KINDS_WITH_TOKENS:
        yield _of_entry(entry, "entry", entry.kind, "a kind that there is")
    if bool(entry.corrects_entry_id) != (entry.kind in _KINDS_THAT_CORRECT):
        yield _of_entry(entry, "entry", entry.corrects_entry_id or _NOTHING, f"as a {entry.kind}")
    if not entry.rate_card_id:
        return
    derived: int | None = None
    if entry.kind == "tool_call":
        if entry.rate_card_id not in tool_fees:
            yield _of_entry(entry, "rate_card", entry.rate_card_id, "no such card")
        derived = tool_fees.get(entry.rate_card_id)
    elif (card := cards.get(entry.rate_card_id)) is None:
        yield _of_entry(entry, "rate_card", entry.rate_card_id, "no such card")
    elif entry.kind == "model_call":
        derived = card.cost(entry.usage)
    if derived is not None and derived != entry.cost_nano_usd:
        yield _of_entry(entry, "cost", str(entry.cost_nano_usd), str(derived))


def check_chain(
    corrected: UsageEntry | None, chain: Sequence[UsageEntry], cards: Mapping[str, RateCard]
) -> Iterator[Difference]:
    """Yields what is wrong with the entries that correct or rate again one other.

    Args:
        corrected: The other; None if there is none.
        chain: The entries, in the order of their writing.
        cards: Rate cards by id.
    """
    if corrected is None or corrected.kind != "model_call":
        found = _NOTHING if corrected is None else f"a {corrected.kind}"
        for entry in chain:
            yield _of_entry(entry, "entry", found, f"a model call {entry.corrects_entry_id!r}")
        return
    usage: TokenCounts = corrected.usage
    cost_nano_usd: int = corrected.cost_nano_usd
    for entry in chain:
        usage = usage.plus(entry.usage)
        card = cards.get(entry.rate_card_id)
        if card is not None:
            derived = card.cost(usage) - cost_nano_usd
            if derived != entry.cost_nano_usd:
                yield _of_entry(entry, "cost", str(entry.cost_nano_usd), str(derived))
        cost_nano_usd += entry.cost_nano_usd


def _of_entry(entry: UsageEntry, kind: DifferenceKind, stored: str, derived: str) -> Difference:
    return Difference(entry.organization_id, kind, f"entry {entry.id!r}", stored, derived)


def _who(key: RollupKey) -> str:
    names = ("user", "agent", "model", "tool", "kind")
    return ", ".join(
        f"{name} {value!r}" for name, value in zip(names, key[3:], strict=True) if value
    )


def _sums(rollup: Rollup | None) -> str:
    if rollup is None:
        return _NOTHING
    values = msgspec.structs.asdict(rollup)
    return " ".join(f"{name}={value}" for name, value in values.items() if value)
