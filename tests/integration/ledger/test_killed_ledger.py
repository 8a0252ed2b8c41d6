"""A ledger that is killed at any instant loses nothing it acknowledged, and overshoots nothing."""

from __future__ import annotations

import asyncio
import signal
import sys
from asyncio.subprocess import PIPE
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from agent_executor.ledger.accounting.commands import Recorded
from agent_executor.ledger.accounting.store import AccountingStore
from agent_executor.ledger.schema import MIGRATIONS
from tests.contract.ledger.accounting_steps import do
from tests.contract.ledger.stores import check_verified, open_postgres, open_sqlite
from tests.integration.ledger.ledger_process import USERS, settlement
from tests.postgres import PostgresServer
from tests.unit.ledger.accounting_samples import CARD, NOW_MS, ORGANIZATION, budget

LEDGER_PROCESS = Path(__file__).with_name("ledger_process.py")
ROUNDS = 3
FULL_ROUNDS = 40
# Acknowledgements before the process is killed, more in each round, so that it dies at other
# instants of its transactions.
ACKNOWLEDGED = 150
# A limit that some of a round's calls meet, for holds of 200 and calls of 200 at most.
LIMIT_NANO_USD = 40_000


class Lines:
    """What killed processes have told, by what they told it of."""

    def __init__(self) -> None:
        self.ids: dict[str, set[str]] = {
            "ask": set(),
            "held": set(),
            "refused": set(),
            "voided": set(),
            "settled": set(),
        }

    async def add_a_killed_process(self, database: str, round_number: int, lines: int) -> None:
        """Kills a process once it has told so much, and keeps all it told."""
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, LEDGER_PROCESS, database, str(round_number)), stdout=PIPE
        )
        assert process.stdout is not None
        told = [await process.stdout.readline() for _ in range(lines)]
        process.send_signal(signal.SIGKILL)
        # What was written before the signal is still in the pipe; the last line may be cut off.
        told += (await process.stdout.read()).splitlines(keepends=True)
        assert await process.wait() == -signal.SIGKILL
        for line in told:
            if line.endswith(b"\n"):
                what, call_id = line.decode().split()
                self.ids[what].add(call_id)


@pytest.fixture(params=["sqlite", "postgres"])
async def database(
    request: pytest.FixtureRequest, tmp_path: Path
) -> AsyncIterator[tuple[str, Path | str, Callable[[], AccountingStore]]]:
    """Yields a database as the process is told of it, as it is verified, and what opens it."""
    if request.param == "sqlite":
        path = tmp_path / "ledger.sqlite3"
        yield str(path), path, lambda: open_sqlite(path).store
        return
    server: PostgresServer = request.getfixturevalue("postgres_server")
    name = await server.new_database(MIGRATIONS)
    url = server.url(name)
    yield url, url, lambda: open_postgres(url).store
    await server.drop_database(name)


async def test_a_killed_ledger_is_exact(
    database: tuple[str, Path | str, Callable[[], AccountingStore]], full: bool
) -> None:
    name, verified, open_store = database
    store = open_store()
    await store.put_rate_card(CARD, "test")
    for number, user_id in enumerate(USERS):
        limit = LIMIT_NANO_USD + number
        await store.put_budget(budget(user_id, limit, user_id=user_id, window="month"), NOW_MS)
    await store.put_budget(budget("all", LIMIT_NANO_USD * 2), NOW_MS)
    await store.close()
    told = Lines()
    for round_number in range(FULL_ROUNDS if full else ROUNDS):
        lines = ACKNOWLEDGED + 37 * round_number
        await told.add_a_killed_process(name, round_number, lines)
        await check_verified(verified)
        store = open_store()
        await check_acknowledged(store, told)
        await check_limits(store)
        await store.close()
    store = open_store()
    await retry_everything(store, told)
    await check_limits(store)
    await store.close()
    await check_verified(verified)


async def check_acknowledged(store: AccountingStore, told: Lines) -> None:
    """Checks that what was acknowledged is there, and as it was."""
    settled = sorted(told.ids["settled"])
    entries = {one.id: one for one in await store.get_entries(ORGANIZATION, settled)}
    assert entries.keys() == told.ids["settled"]
    for call_id, stored in entries.items():
        assert stored.usage == settlement(call_id).entry.usage
        assert stored.cost_nano_usd == CARD.cost(stored.usage)
        assert stored.reservation_outcome == "open"
    for what, state in (("voided", "voided"), ("settled", "settled")):
        for call_id in sorted(told.ids[what])[-50:]:
            reservation = await store.get_reservation(ORGANIZATION, call_id, NOW_MS)
            assert reservation is not None
            assert reservation.state == state
    for call_id in sorted(told.ids["refused"])[-50:]:
        assert await store.get_reservation(ORGANIZATION, call_id, NOW_MS) is None


async def check_limits(store: AccountingStore) -> None:
    """Checks that no budget was ever over its limit: that would have been an event."""
    for status in await store.list_budgets(ORGANIZATION, NOW_MS, 10):
        assert status.left_nano_usd >= 0
    assert await store.budget_events(ORGANIZATION, 10) == []


async def retry_everything(store: AccountingStore, told: Lines) -> None:
    """Settles again what was settled, and what nobody knows to be: each counts once."""
    unknown = told.ids["held"] - told.ids["settled"]
    before = await store.get_entries(ORGANIZATION, sorted(unknown))
    recorded = {one.id for one in before} | told.ids["settled"]
    retried = sorted(told.ids["settled"] | unknown)
    outcomes = await asyncio.gather(*(do(store, settlement(one)) for one in retried * 2))
    new = [one.entry.id for one in outcomes if isinstance(one, Recorded) and one.is_new]
    assert sorted(new) == sorted(set(retried) - recorded)
    after = {one.id for one in await store.get_entries(ORGANIZATION, retried)}
    assert after == set(retried)
