"""``verify`` finds each thing that someone has changed in a ledger, and finds nothing in a sound one."""

from __future__ import annotations

import asyncio
import random
import re
import sqlite3
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path

import asyncpg
import msgspec
import pytest

from agent_executor.errors import FailedPreconditionError, UnavailableError
from agent_executor.ledger.accounting.commands import Record, Rerate
from agent_executor.ledger.accounting.store import AccountingStore
from agent_executor.ledger.accounting.token_usage import TokenCounts, TokenUsage
from agent_executor.ledger.money import NanoUsd
from agent_executor.ledger.prices.organization_card import OrganizationCard, ToolFee
from agent_executor.ledger.schema import MIGRATIONS
from agent_executor.ledger.verification.difference import Difference, VerifyProgress
from agent_executor.ledger.verification.verify import PROGRESS_ENTRIES, verify
from tests.contract.ledger.accounting_steps import (
    correct,
    do,
    record,
    reserve,
    reserve_amount,
    settle,
)
from tests.contract.ledger.stores import open_postgres, open_sqlite
from tests.postgres import PostgresServer
from tests.unit.ledger.accounting_samples import (
    CARD,
    CARDS,
    DAY_MS,
    HOUR_MS,
    NOW_MS,
    ORGANIZATION,
    RAISED,
    budget,
    priced,
    tool_entry,
)

FEE = OrganizationCard.of(
    ORGANIZATION, ToolFee("search", NanoUsd(7)), 0, created_at_ms=0, created_by="ada"
)
FEE_CARD = msgspec.json.encode(FEE)
ADD_FEE_CARD = """
    INSERT INTO organization_cards (organization_id, id, model, tool_name, valid_from_ms,
        created_at_ms, body) VALUES ('acme', '{card_id}', '', 'search', 0, 0, {body})
"""
# What someone changes, and what is found: the kind, and patterns of what, stored and derived.
TAMPERING = {
    "a balance": (
        (
            "UPDATE budget_balances SET settled_nano_usd = settled_nano_usd + 1"
            " WHERE budget_id = 'daily' AND organization_id = 'acme'"
        ),
        ("balance", "budget 'daily'.*", "415", "414"),
    ),
    "a balance is gone": (
        "DELETE FROM budget_balances WHERE budget_id = 'all' AND organization_id = 'acme'",
        ("balance", "budget 'all'.*", "0", "474"),
    ),
    "a balance of no budget": (
        "INSERT INTO budget_balances VALUES ('acme', 'nobody', 0, 5, 0)",
        ("balance", "budget 'nobody'.*", "5", "0"),
    ),
    "what is held against a budget": (
        "UPDATE budgets SET reserved_nano_usd = 0 WHERE id = 'all' AND organization_id = 'acme'",
        ("reserved", "budget 'all'", "0", "1200"),
    ),
    "what is drawn from an amount": (
        "UPDATE reservations SET drawn_nano_usd = 201 WHERE id = 'run'",
        ("drawn", "reservation 'run'", "201", "200"),
    ),
    "an ended reservation that holds": (
        "UPDATE reservations SET remaining_nano_usd = 3 WHERE id = 'call-1'",
        ("drawn", "reservation 'call-1'", "3", "0: it is settled"),
    ),
    "a sum": (
        (
            "UPDATE usage_rollups SET output_tokens = output_tokens + 1"
            " WHERE detail = 'users' AND span_hours = 1 AND user_id = 'ada'"
            f" AND organization_id = 'acme' AND start_ms = {NOW_MS}"
        ),
        (
            "rollup",
            "1 h from .* of users, user 'ada'",
            ".*output_tokens=11.*",
            ".*output_tokens=10.*",
        ),
    ),
    "a sum is gone": (
        (
            "DELETE FROM usage_rollups WHERE detail = 'agents' AND span_hours = 24"
            " AND kind = 'tool_call'"
        ),
        ("rollup", "24 h from .* of agents, agent 'agent', tool 'search', .*", "nothing", ".*=1.*"),
    ),
    "a sum of nothing": (
        (
            "INSERT INTO usage_rollups VALUES"
            " ('acme', 'users', 24, 0, 'nobody', '', '', '', '', 1, 0, 0, 0, 0, 0, 9)"
        ),
        ("rollup", "24 h from 0 of users, user 'nobody'", ".*cost_nano_usd=9", "nothing"),
    ),
    "a card is gone": (
        f"DELETE FROM rate_cards WHERE id = '{RAISED.id}'",
        ("rate_card", "entry 'rerated'", RAISED.id, "no such card"),
    ),
    "a reservation names no card": (
        "UPDATE reservations SET rate_card_id = 'gone' WHERE id = 'open'",
        ("rate_card", "reservation 'open'", "gone", "no such card"),
    ),
    "a cost": (
        "UPDATE usage_entries SET cost_nano_usd = 99 WHERE id = 'call-1'",
        ("cost", "entry 'call-1'", "99", "100"),
    ),
    "tokens": (
        "UPDATE usage_entries SET output_tokens = 9 WHERE id = 'call-1'",
        ("cost", "entry 'call-1'", "100", "95"),
    ),
    "a fee": (
        "UPDATE usage_entries SET cost_nano_usd = 8 WHERE id = 'tool'",
        ("cost", "entry 'tool'", "8", "7"),
    ),
    "the cost of a correction": (
        "UPDATE usage_entries SET cost_nano_usd = 0 WHERE id = 'corrected'",
        ("cost", "entry 'corrected'", "0", "-50"),
    ),
    "the cost of a rerating": (
        "UPDATE usage_entries SET cost_nano_usd = 1 WHERE id = 'rerated'",
        ("cost", "entry 'rerated'", "1", "300"),
    ),
    "what is corrected": (
        "UPDATE usage_entries SET corrects_entry_id = 'tool' WHERE id = 'rerated'",
        ("entry", "entry 'rerated'", "a tool_call", "a model call 'tool'"),
    ),
    "a correction of nothing": (
        "UPDATE usage_entries SET corrects_entry_id = 'gone' WHERE id = 'rerated'",
        ("entry", "entry 'rerated'", "nothing", "a model call 'gone'"),
    ),
    "a kind": (
        "UPDATE usage_entries SET kind = 'gift' WHERE id = 'given'",
        ("entry", "entry 'given'", "gift", "a kind that there is"),
    ),
    "an adjustment with tokens": (
        "UPDATE usage_entries SET input_tokens = 1 WHERE id = 'given'",
        ("entry", "entry 'given'", "1", "no tokens: adjustment"),
    ),
    "an entry is gone": (
        "DELETE FROM usage_entries WHERE id = 'given'",
        ("balance", "budget 'all'.*", "474", "567"),
    ),
}


@pytest.fixture(params=["sqlite", "postgres"])
async def ledger(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Path | str]:
    """Yields a closed ledger with an entry of every kind, open holds and a tree of them."""
    if request.param == "sqlite":
        path = tmp_path / "ledger.sqlite3"
        store = open_sqlite(path).store
        await run(path, ADD_FEE_CARD.format(card_id=FEE.id, body=f"X'{FEE_CARD.hex()}'"))
        await fill(store)
        yield path
        return
    server: PostgresServer = request.getfixturevalue("postgres_server")
    name = await server.new_database(MIGRATIONS)
    url = server.url(name)
    await run(url, ADD_FEE_CARD.format(card_id=FEE.id, body=f"'\\x{FEE_CARD.hex()}'"))
    await fill(open_postgres(url).store)
    yield url
    await server.drop_database(name)


async def fill(store: AccountingStore) -> None:
    for card in CARDS:
        await store.put_rate_card(card, "test")
    for organization_id in (ORGANIZATION, "other"):
        own = {"organization_id": organization_id}
        await store.put_budget(budget("all", 10_000, **own), NOW_MS)
        await store.put_budget(budget("daily", 9_000, window="day", user_id="ada", **own), NOW_MS)
    await reserve(store)
    await settle(store)
    await correct(store, "corrected", TokenUsage(50, 0))
    await do(store, Rerate(priced("rerated", corrects_entry_id="call-1"), RAISED))
    await reserve_amount(store, "run", 1_000)
    await reserve(store, "drawing", parent_id="run")
    await reserve(store, "open")
    await record(store, "given", -93, kind="adjustment", usage=TokenCounts(), rate_card_id="")
    await record(store, "yesterday", 60, now_ms=NOW_MS - DAY_MS, usage=TokenCounts(10, 10))
    await record(store, "of another", 150, usage=TokenCounts(100, 10))
    await record(store, "elsewhere", 100, organization_id="other")
    await do(store, Record(tool_entry("tool", 7, rate_card_id=FEE.id)))
    await store.close()


async def run(database: Path | str, statement: str) -> None:
    """Changes a ledger behind its back."""
    if isinstance(database, Path):
        with closing(sqlite3.connect(database)) as connection:
            for change in ("update", "delete"):
                connection.execute(f"DROP TRIGGER IF EXISTS usage_entries_refuse_{change}")
            connection.execute(statement)
            connection.commit()
        return
    connection = await asyncpg.connect(database)
    await connection.execute("DROP TRIGGER IF EXISTS usage_entries_refuse_change ON usage_entries")
    await connection.execute(statement)
    await connection.close()


async def found_in(database: Path | str, organization_id: str = "") -> list[Difference]:
    return await asyncio.to_thread(lambda: list(verify(database, organization_id=organization_id)))


async def test_a_sound_ledger_has_no_difference(ledger: Path | str) -> None:
    assert await found_in(ledger) == []


@pytest.mark.parametrize("changed", TAMPERING)
async def test_what_was_changed_is_found(ledger: Path | str, changed: str) -> None:
    statement, expected = TAMPERING[changed]
    await run(ledger, statement)
    found = await found_in(ledger)
    matching = [
        one
        for one in found
        if all(
            re.fullmatch(pattern, text)
            for pattern, text in zip(
                expected, (one.kind, one.what, one.stored, one.derived), strict=True
            )
        )
    ]
    assert len(matching) == 1, found
    assert {one.organization_id for one in found} == {ORGANIZATION}
    assert await found_in(ledger, "other") == []
    assert await found_in(ledger, ORGANIZATION) == found
    # It has repaired nothing.
    assert await found_in(ledger) == found


async def test_balances_and_sums_that_are_changed_are_all_that_is_found(
    ledger: Path | str,
) -> None:
    for changed in ("a balance", "what is held against a budget", "a sum"):
        await run(ledger, TAMPERING[changed][0])
    assert [one.kind for one in await found_in(ledger)] == ["rollup", "balance", "reserved"]


async def test_it_reads_beside_a_ledger_that_writes(ledger: Path | str) -> None:
    opened = open_sqlite(ledger) if isinstance(ledger, Path) else open_postgres(ledger)
    store = opened.store
    is_under_way, is_verified = asyncio.Event(), asyncio.Event()
    written = 0

    async def write() -> None:
        nonlocal written
        while not is_verified.is_set():
            written += 1
            await reserve(store, f"more-{written}", user_id="eve", agent_id=f"agent {written}")
            await settle(store, f"more-{written}", user_id="eve", agent_id=f"agent {written}")
            if written == 20:
                is_under_way.set()

    await store.put_budget(budget("all", 10**12), NOW_MS)
    writing = asyncio.create_task(write())
    await is_under_way.wait()
    for _ in range(3):
        assert await found_in(ledger) == []
    is_verified.set()
    await writing
    await store.close()
    assert await found_in(ledger) == []


async def test_it_tells_how_far_it_has_come(tmp_path: Path) -> None:
    path = tmp_path / "ledger.sqlite3"
    store = open_sqlite(path).store
    await store.put_rate_card(CARD, "test")
    entries = PROGRESS_ENTRIES + 5
    for first in range(0, entries, 500):
        numbers = range(first, min(first + 500, entries))
        await store.apply([Record(priced(f"entry-{number}")) for number in numbers], NOW_MS)
    await store.close()
    told: list[VerifyProgress] = []
    assert list(verify(path, progress=told.append)) == []
    assert told == [
        VerifyProgress(PROGRESS_ENTRIES, entries),
        VerifyProgress(entries, entries),
    ]


async def test_budgets_that_came_late_count_what_was_before(
    request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    """Windows begin amid hours and days; what is summed up is what the entries say."""
    chance = random.Random(7)
    path = tmp_path / "ledger.sqlite3"
    server: PostgresServer = request.getfixturevalue("postgres_server")
    name = await server.new_database(MIGRATIONS)
    url = server.url(name)
    stores = [open_sqlite(path).store, open_postgres(url).store]
    commands = []
    for number in range(400):
        at_ms = NOW_MS + chance.randrange(-40 * DAY_MS, 2 * HOUR_MS)
        counts = TokenCounts(chance.randrange(1, 100))
        who = {part: chance.choice(("a", "b")) for part in ("user_id", "agent_id", "run_id")}
        asked = priced(f"{number}", counts.input_tokens, usage=counts, occurred_at_ms=at_ms, **who)
        commands.append(Record(asked))
    for store in stores:
        await store.put_rate_card(CARD, "test")
        await store.apply(commands, NOW_MS)
        number = 0
        for scope in range(8):
            who = {
                part: "a" if scope & 1 << place else ""
                for place, part in enumerate(("user_id", "agent_id", "run_id"))
            }
            for window in ("total", "day", "month"):
                for zone in ("UTC", "Asia/Kathmandu", "America/St_Johns"):
                    number += 1
                    late = budget(f"{number}", 10**9, window=window, time_zone=zone, **who)
                    await store.put_budget(late, NOW_MS)
        await store.apply(
            [
                Record(priced(f"later {one}", occurred_at_ms=NOW_MS + one * HOUR_MS))
                for one in range(20)
            ],
            NOW_MS,
        )
        await store.close()
    for database in (path, url):
        found = await found_in(database)
        assert [one for one in found if one.kind != "cost"] == []
    await server.drop_database(name)


async def test_another_revision_is_refused(ledger: Path | str) -> None:
    await run(ledger, "UPDATE alembic_version SET version_num = '0001'")
    with pytest.raises(FailedPreconditionError, match="revision 0001"):
        await found_in(ledger)


async def test_what_cannot_be_read_is_told(tmp_path: Path, postgres_server: PostgresServer) -> None:
    no_ledger = tmp_path / "none.sqlite3"
    no_ledger.write_bytes(b"no database at all, but long enough to be read as one" * 20)
    for database in (
        tmp_path / "missing.sqlite3",
        no_ledger,
        postgres_server.url("missing"),
        postgres_server.url(),
        "postgresql://user:secret@127.0.0.1:1/ledger",
        "no url",
    ):
        with pytest.raises(UnavailableError) as failure:
            await found_in(database)
        assert "secret" not in str(failure.value)
