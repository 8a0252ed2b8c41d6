"""A thousand callers at once, in one process and in several: no limit is overshot, all that fits is let in."""

from __future__ import annotations

import asyncio
import random
import sys
from asyncio.subprocess import PIPE
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from agent_executor.ledger.accounting.budget import Refusal
from agent_executor.ledger.accounting.commands import Recorded, Reserve, Settle, Void
from agent_executor.ledger.accounting.reservation import Reservation
from agent_executor.ledger.accounting.store import AccountingStore
from agent_executor.ledger.accounting.token_usage import TokenCounts
from agent_executor.ledger.schema import MIGRATIONS
from tests.contract.ledger.accounting_steps import ask, do
from tests.contract.ledger.stores import check_verified, open_postgres, open_store
from tests.postgres import PostgresServer
from tests.unit.ledger.accounting_samples import (
    CARD,
    CARDS,
    HOUR_MS,
    NOW_MS,
    ORGANIZATION,
    amount,
    budget,
    entry,
    hold,
)

CALLERS = 1_000
FULL_CALLERS = 10_000
CALLER_PROCESS = Path(__file__).with_name("caller_process.py")
PROCESSES = 2


@pytest.fixture
def callers(full: bool) -> int:
    return FULL_CALLERS if full else CALLERS


@pytest.fixture(params=["sqlite", "postgres"])
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[AccountingStore]:
    async with open_store(request.param, request, tmp_path) as opened:
        for card in CARDS:
            await opened.store.put_rate_card(card, "test")
        yield opened.store


async def test_exactly_what_fits_is_let_in(store: AccountingStore, callers: int) -> None:
    fitting = callers // 4
    await store.put_budget(budget("all", 200 * callers), NOW_MS)
    await store.put_budget(budget("ada", 200 * fitting, user_id="ada", window="day"), NOW_MS)
    answers = await asyncio.gather(*(ask(store, hold(f"call-{one}")) for one in range(callers)))
    assert sum(isinstance(answer, Reservation) for answer in answers) == fitting
    assert sum(isinstance(answer, Refusal) for answer in answers) == callers - fitting
    status = await store.get_budget(ORGANIZATION, "ada", NOW_MS)
    assert status is not None
    assert status.left_nano_usd == 0


async def test_exactly_what_an_amount_covers_is_let_in(
    store: AccountingStore, callers: int
) -> None:
    fitting = callers // 4
    await store.put_budget(budget("all", 200 * fitting), NOW_MS)
    assert isinstance(await ask(store, amount("run", 200 * fitting)), Reservation)
    calls = (ask(store, hold(f"call-{one}", parent_id="run")) for one in range(callers))
    answers = await asyncio.gather(*calls)
    assert sum(isinstance(answer, Reservation) for answer in answers) == fitting
    run = await store.get_reservation(ORGANIZATION, "run", NOW_MS)
    assert run is not None
    assert run.left_nano_usd == 0


async def test_one_id_of_a_thousand_callers_counts_once(
    store: AccountingStore, callers: int
) -> None:
    await store.put_budget(budget("all", 200 * callers), NOW_MS)
    held = await asyncio.gather(*(ask(store, hold("same")) for _ in range(callers)))
    assert held == [hold("same")] * callers
    outcomes = await asyncio.gather(
        *(do(store, Settle(entry("same"), CARD)) for _ in range(callers))
    )
    assert sum(isinstance(one, Recorded) and one.is_new for one in outcomes) == 1
    status = await store.get_budget(ORGANIZATION, "all", NOW_MS)
    assert status is not None
    assert (status.settled_nano_usd, status.reserved_nano_usd) == (100, 0)


async def test_no_moment_is_over_a_limit(store: AccountingStore, callers: int) -> None:
    """Each caller holds, and settles less, or more than once, voids, or never answers."""
    windows = ("total", "day", "month")
    for number, window in enumerate(windows):
        limit = callers * 40 + number
        await store.put_budget(budget(window, limit, window=window), NOW_MS)
    await store.put_budget(budget("ada", callers * 30, user_id="ada"), NOW_MS)
    await store.put_budget(budget("agent of bob", 4_000, user_id="bob", agent_id="agent"), NOW_MS)
    least_left: list[int] = []
    refused = 0

    async def call(number: int) -> None:
        nonlocal refused
        chance = random.Random(number)
        user_id = chance.choice(("ada", "bob", "eve"))
        reservation_id = f"call-{number}"
        # What is held by those who never answer runs out while others still ask.
        now_ms = NOW_MS + number * 2 * HOUR_MS // callers
        asked = hold(reservation_id, user_id=user_id, created_at_ms=now_ms)
        if isinstance(await ask(store, asked, now_ms), Refusal):
            refused += 1
            return
        if number % 50 == 0:
            listed = await store.list_budgets(ORGANIZATION, now_ms, 10)
            least_left.append(min(one.left_nano_usd for one in listed))
        choice = chance.random()
        if choice < 0.2:
            await do(store, Void(ORGANIZATION, reservation_id), now_ms)
        elif choice < 0.8:
            usage = TokenCounts(chance.randrange(201))
            settling = Settle(
                entry(reservation_id, user_id=user_id, usage=usage, occurred_at_ms=now_ms), CARD
            )
            first, again = await asyncio.gather(
                do(store, settling, now_ms), do(store, settling, now_ms)
            )
            assert isinstance(first, Recorded)
            assert isinstance(again, Recorded)
            assert [first.is_new, again.is_new].count(True) == 1

    await asyncio.gather(*(call(number) for number in range(callers)))
    assert 0 < refused < callers
    assert least_left
    assert min(least_left) >= 0
    # A hold that had run out is settled all the same, and that may be an overrun: of nothing else.
    for event in await store.budget_events(ORGANIZATION, callers):
        settled = await store.get_entries(ORGANIZATION, [event.entry_id])
        assert settled[0].reservation_outcome == "expired"


async def test_organizations_do_not_wait_for_one_another_s_money(
    store: AccountingStore, callers: int
) -> None:
    organizations = [f"organization {number}" for number in range(10)]
    for organization_id in organizations:
        limited = budget("all", 200 * 10, organization_id=organization_id)
        await store.put_budget(limited, NOW_MS)
    commands = [
        Reserve(hold(f"call-{number}", organization_id=organizations[number % 10]), CARD)
        for number in range(callers)
    ]
    random.Random(1).shuffle(commands)
    batches = [commands[first : first + 30] for first in range(0, callers, 30)]
    answers = await asyncio.gather(*(store.apply(batch, NOW_MS) for batch in batches))
    admitted: dict[str, int] = dict.fromkeys(organizations, 0)
    for batch, outcomes in zip(batches, answers, strict=True):
        for command, outcome in zip(batch, outcomes, strict=True):
            if isinstance(outcome, Reservation):
                assert outcome == command.reservation
                admitted[command.organization_id] += 1
    assert set(admitted.values()) == {10}


async def test_two_stores_on_one_database_are_as_exact_as_one(
    postgres_server: PostgresServer, callers: int
) -> None:
    name = await postgres_server.new_database(MIGRATIONS)
    stores = [open_postgres(postgres_server.url(name)).store for _ in range(2)]
    await stores[0].put_rate_card(CARD, "test")
    await stores[0].put_budget(budget("all", 200 * (callers // 4)), NOW_MS)
    answers = await asyncio.gather(
        *(ask(stores[one % 2], hold(f"call-{one}")) for one in range(callers))
    )
    ids = {answer.id for answer in answers if isinstance(answer, Reservation)}
    assert len(ids) == callers // 4
    settling = [Settle(entry(one), CARD) for one in sorted(ids)]
    outcomes = await asyncio.gather(
        *(do(store, command) for command in settling for store in stores)
    )
    assert sum(isinstance(one, Recorded) and one.is_new for one in outcomes) == len(ids)
    for store in stores:
        status = await store.get_budget(ORGANIZATION, "all", NOW_MS)
        assert status is not None
        assert (status.settled_nano_usd, status.reserved_nano_usd) == (100 * len(ids), 0)
        await store.close()
    await check_verified(postgres_server.url(name))
    await postgres_server.drop_database(name)


async def test_two_processes_on_one_database_are_as_exact_as_one(
    postgres_server: PostgresServer, callers: int
) -> None:
    name = await postgres_server.new_database(MIGRATIONS)
    url = postgres_server.url(name)
    store = open_postgres(url).store
    await store.put_rate_card(CARD, "test")
    fitting = callers // 4
    await store.put_budget(budget("all", 200 * fitting), NOW_MS)
    for organization_id in ("beta", "gamma"):
        limited = budget("all", 200 * fitting, organization_id=organization_id)
        await store.put_budget(limited, NOW_MS)
    processes = [
        await asyncio.create_subprocess_exec(
            *(sys.executable, CALLER_PROCESS, url, str(callers), str(number)), stdout=PIPE
        )
        for number in range(PROCESSES)
    ]
    outputs = [await process.communicate() for process in processes]
    assert [process.returncode for process in processes] == [0] * PROCESSES
    admitted = [int(count) for output, _ in outputs for count in output.split()]
    # Two processes, each of which tells how many were let in of three organizations.
    assert [sum(admitted[place::3]) for place in range(3)] == [fitting] * 3
    for organization_id in (ORGANIZATION, "beta", "gamma"):
        status = await store.get_budget(organization_id, "all", NOW_MS)
        assert status is not None
        assert (status.reserved_nano_usd, status.left_nano_usd) == (0, 0)
        assert await store.budget_events(organization_id, 1) == []
    await store.close()
    await check_verified(url)
    await postgres_server.drop_database(name)
