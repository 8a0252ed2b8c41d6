"""What every evidence store must do: the databases add up as the entries in memory do."""

from __future__ import annotations

import random
from pathlib import Path

import msgspec
import pytest

from agent_executor.ledger.accounting.entry import Purpose, UsageEntry
from agent_executor.ledger.accounting.token_usage import TokenUsage
from agent_executor.ledger.prices.rate_card import RateCard
from agent_executor.ledger.suggestions import evidence
from agent_executor.ledger.suggestions.evidence import Period
from agent_executor.ledger.suggestions.prices import band_edges
from agent_executor.ledger.suggestions.store import EvidenceStore
from agent_executor.ledger.suggestions.store_memory import MemoryEvidenceStore
from agent_executor.ledger.suggestions.suggestion import Evidence, Kind, Subject
from tests.contract.ledger.evidence_stores import ADAPTERS, evidence_store
from tests.unit.ledger.suggestions.recorded_usage import (
    DAY_MS,
    HOUR_MS,
    LARGE,
    LARGE_BATCH,
    MINUTE_MS,
    NOW_MS,
    OPTIONS,
    SMALL,
    START_MS,
    TIERED,
    change,
    model_call,
    tool_call,
)

PERIOD = Period("acme", NOW_MS - 30 * DAY_MS, NOW_MS)
EDGES = band_edges(OPTIONS.values())


class History:
    """A history that a seed makes, with everything in it that matters to a store."""

    def __init__(self, seed: int, size: int) -> None:
        self._random = random.Random(seed)
        self._now_ms = START_MS
        self.entries: list[UsageEntry] = []
        for _ in range(size):
            self._now_ms += self._random.choice((0, 1_000, MINUTE_MS, 10 * MINUTE_MS, HOUR_MS))
            self._add()

    def _add(self) -> None:
        choose = self._random.choice
        match self._random.randrange(12):
            case 0 | 1:
                fee = choose((0, 7, 10_000_000))
                digest = choose(("", "one", "two"))
                run_id = choose(("", *self._runs))
                self._record(tool_call(digest, self._now_ms, fee, run_id=run_id))
            case 2 if self.entries:
                self._change(choose(self.entries))
            case _:
                self._record(self._call(choose((LARGE, SMALL, TIERED, LARGE_BATCH))))

    @property
    def _runs(self) -> tuple[str, ...]:
        # Few, so that some are long, and named so that no database sorts them in another way.
        return tuple(f"run-{number:02d}" for number in range(14))

    def _call(self, card: RateCard) -> UsageEntry:
        choose, below = self._random.choice, self._random.randrange
        cached = (0, 0, 0) if below(3) else (below(9_000), below(2) * 500, below(2) * 500)
        usage = TokenUsage(choose((10, 2_000, 99_990, 100_001, 110_500)), below(2_000), *cached)
        purpose = Purpose(
            content_digest=choose(("", "first", "second")),
            prefix_tokens=choose((0, 511, 512, 1_500, 4_096, 200_000)),
            history_tokens=choose((0, 1_000, 90_000, 2_000_000_000)),
            is_background=below(3) == 0,
        )
        return model_call(
            usage,
            self._now_ms,
            priced_by=card,
            agent_id=choose(("", "agent", "other")),
            run_id=choose(("", *self._runs)),
            purpose=purpose,
            attempt=choose((1, 1, 1, 2)),
        )

    def _change(self, of: UsageEntry) -> None:
        if of.kind != "model_call":
            return
        if self._random.randrange(2):
            card = self._random.choice((SMALL, TIERED))
            difference = (
                card.cost(TokenUsage(*msgspec.structs.astuple(of.usage))) - of.cost_nano_usd
            )
            self._record(change(of, "rerating", {}, difference, card.id))
        else:
            self._record(change(of, "correction", {"output_tokens": -of.usage.output_tokens}, -5))

    def _record(self, entry: UsageEntry) -> None:
        # Some is another organization's, or of another time.
        late = self._random.choice((0,) * 18 + (30 * DAY_MS, -60 * DAY_MS))
        self.entries.append(
            msgspec.structs.replace(
                entry,
                organization_id="other" if self._random.randrange(20) == 0 else "acme",
                occurred_at_ms=entry.occurred_at_ms + late,
            )
        )


@pytest.mark.parametrize("adapter", ADAPTERS[1:])
@pytest.mark.parametrize("seed", range(3))
async def test_a_database_adds_up_as_memory_does(
    adapter: str, seed: int, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    history = History(seed, 900).entries
    in_memory = MemoryEvidenceStore(lambda: history)
    async with evidence_store(adapter, history, request, tmp_path) as store:
        for period in (PERIOD, msgspec.structs.replace(PERIOD, agent_id="agent")):
            for edges in (EDGES, ()):
                found = await everything(store, period, edges)
                assert found == await everything(in_memory, period, edges)
                assert all(found.values())
        for kind, subjects in _subjects(await everything(in_memory, PERIOD, EDGES)).items():
            runs = await store.evidence(PERIOD, kind, subjects)
            assert runs == await in_memory.evidence(PERIOD, kind, subjects)
            assert runs


async def everything(
    store: EvidenceStore, period: Period, edges: tuple[int, ...]
) -> dict[str, list[object]]:
    """Returns every answer, each in an order that does not depend on ties."""
    answers = {
        "spending": [(await store.spending(period)).cost_nano_usd],
        "cards": (await store.spending(period)).cards,
        "calls": await store.call_sums(period, edges),
        "shapes": await store.run_shapes(period),
        "prefixes": await store.prefix_repeats(period, edges),
        "histories": await store.history_sums(period, edges),
        "tools": await store.tool_repeats(period),
    }
    numbers = (1, 2, 300, 10_000)
    answers["newest"] = [await store.occurrence_of_newest(period, number) for number in numbers]
    return {name: sorted(answer, key=repr) for name, answer in answers.items()}


def _subjects(found: dict[str, list[object]]) -> dict[Kind, list[Subject]]:
    calls = {(one.agent_id, one.model) for one in found["calls"]}  # type: ignore[attr-defined]  # CallSums
    of_models = [Subject(*each) for each in sorted(calls)]
    return {
        "cheaper_model": of_models,
        "batch": of_models,
        "history_trimming": of_models,
        "tier_cliff": [Subject(agent, model, part="100000") for agent, model in sorted(calls)],
        "prompt_caching": [
            Subject(agent, model, part=digest)
            for agent, model in sorted(calls)
            for digest in ("first", "second")
        ],
        "tool_result_cache": [Subject(tool_name="search")],
    }


@pytest.mark.parametrize("adapter", ADAPTERS)
async def test_an_empty_ledger_has_no_evidence(
    adapter: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    async with evidence_store(adapter, [], request, tmp_path) as store:
        found = await everything(store, PERIOD, EDGES)
        assert found == {**{key: [] for key in found}, "spending": [0], "newest": [None] * 4}
        assert await store.evidence(PERIOD, "batch", []) == {}
        assert await store.evidence(PERIOD, "batch", [Subject("agent")]) == {}


@pytest.mark.parametrize("adapter", ADAPTERS)
async def test_of_too_many_groups_the_most_expensive_are_returned(
    adapter: str,
    request: pytest.FixtureRequest,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from agent_executor.ledger.suggestions import statements, store_memory

    for module in (evidence, statements, store_memory):
        monkeypatch.setattr(module, "MAX_GROUPS", 2)
    history = [
        model_call(TokenUsage(tokens), agent_id=f"agent-{tokens}") for tokens in (1, 4, 2, 3)
    ]
    async with evidence_store(adapter, history, request, tmp_path) as store:
        sums = await store.call_sums(PERIOD, EDGES)
        assert [one.agent_id for one in sums] == ["agent-4", "agent-3"]


@pytest.mark.parametrize("adapter", ADAPTERS)
async def test_names_of_any_kind_are_only_names(
    adapter: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    name = "Ünïcödé '; DROP TABLE usage_entries; --\U0001f4b8"
    history = [
        model_call(
            TokenUsage(1_000), agent_id=name, run_id=name, purpose=Purpose(is_background=True)
        )
    ]
    async with evidence_store(adapter, history, request, tmp_path) as store:
        subject = Subject(name, LARGE.model)
        found = await store.evidence(PERIOD, "batch", [subject, Subject(name, "' OR 1=1")])
        assert found == {subject: Evidence((name,), 1)}
