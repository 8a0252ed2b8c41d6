"""What every store of organizations' cards must do, on every adapter."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import asyncpg
import msgspec
import pytest
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import Dialect
from sqlalchemy.schema import CreateTable

from agent_executor.ledger.money import NanoUsd, PicoUsdPerToken
from agent_executor.ledger.prices.organization_card import ModelPrice, OrganizationCard, ToolFee
from agent_executor.ledger.prices.organization_prices import FRESH_SECONDS, OrganizationPrices
from agent_executor.ledger.prices.rate_card import Rates, Tier, price_context
from agent_executor.ledger.prices.store import OrganizationCardStore
from agent_executor.ledger.prices.store_memory import MemoryOrganizationCardStore
from agent_executor.ledger.prices.store_sql import SqlOrganizationCardStore
from agent_executor.ledger.tables import ORGANIZATION_CARDS
from agent_executor.storage.postgres import PostgresDatabase
from agent_executor.storage.sqlite import SqliteDatabase
from agent_executor.storage.statements_postgres import PostgresStatementRunner
from agent_executor.storage.statements_sqlite import SqliteStatementRunner
from tests.postgres import PostgresServer

MODEL = "örtliches/模型 🦙"
RATES = Rates(*map(PicoUsdPerToken, (1, 2, 3, 4, 10**12)))
TIERS = (Tier(200_000, RATES), Tier(2**31 - 1, RATES))


@pytest.fixture(params=["memory", "sqlite", "postgres"])
async def store(
    request: pytest.FixtureRequest, tmp_path: Path
) -> AsyncIterator[OrganizationCardStore]:
    """Yields each adapter, empty."""
    if request.param == "memory":
        yield MemoryOrganizationCardStore()
        return
    if request.param == "sqlite":
        database = SqliteDatabase(tmp_path / "ledger.sqlite3")
        table = _table(sqlite.dialect())
        await database.writer.submit(lambda it: it.execute(table))
        yield SqlOrganizationCardStore(SqliteStatementRunner(database))
        await database.close()
        return
    server: PostgresServer = request.getfixturevalue("postgres_server")
    name = await server.new_database()
    connection = await asyncpg.connect(server.url(name))
    table = _table(postgresql.dialect())  # type: ignore[no-untyped-call]  # SQLAlchemy has no types for it
    await connection.execute(table)
    await connection.close()
    postgres = PostgresDatabase(server.url(name))
    yield SqlOrganizationCardStore(PostgresStatementRunner(postgres))
    await postgres.close()
    await server.drop_database(name)


def _table(dialect: Dialect) -> str:
    return str(CreateTable(ORGANIZATION_CARDS).compile(dialect=dialect))


def model_card(
    number: int = 0, model: str = MODEL, organization_id: str = "acme"
) -> OrganizationCard:
    """Returns a card that uses every kind of field."""
    return OrganizationCard.of(
        organization_id,
        ModelPrice(model, RATES, TIERS, price_context("batch", "fast")),
        1_771_840_800_000,
        253_402_300_799_999,
        created_at_ms=1_771_840_800_000 + number,
        created_by="ada",
        description='because "x"\n\x00🦙',
    )


def tool_card(fee_nano_usd: int = 5) -> OrganizationCard:
    """Returns a card of a tool, without end."""
    fee = ToolFee("search", NanoUsd(fee_nano_usd))
    return OrganizationCard.of("acme", fee, 0, created_at_ms=7, created_by="bob")


async def add(store: OrganizationCardStore, *cards: OrganizationCard) -> None:
    """Stores cards, each as the newest."""
    for card in cards:
        assert await store.add(card, cards_max=100)


async def test_cards_are_read_as_they_were_stored(store: OrganizationCardStore) -> None:
    assert await store.find("acme", model_card().id) is None
    await add(store, model_card(), tool_card())
    for card in (model_card(), tool_card()):
        assert await store.find("acme", card.id) == card
    assert await store.list_cards("acme", 10) == [tool_card(), model_card()]
    assert await store.not_withdrawn("acme") == [tool_card(), model_card()]


async def test_the_newest_is_the_one_stored_last_whenever_it_was_made(
    store: OrganizationCardStore,
) -> None:
    cards = [model_card(number) for number in (3, 1, 2)]
    await add(store, *cards)
    assert await store.not_withdrawn("acme") == cards[::-1]


async def test_a_card_is_stored_once(store: OrganizationCardStore) -> None:
    await add(store, model_card(), tool_card(), model_card())
    assert await store.list_cards("acme", 10) == [tool_card(), model_card()]
    await store.withdraw("acme", model_card().id, 9)
    await add(store, model_card())
    assert await store.not_withdrawn("acme") == [tool_card()]


async def test_they_are_listed_in_pages_and_by_name(store: OrganizationCardStore) -> None:
    cards = [model_card(number, f"model-{number % 2}") for number in range(6)]
    await add(store, *cards[:3], tool_card(), *cards[3:])
    first = await store.list_cards("acme", 4)
    assert first == [*cards[:2:-1], tool_card()]
    assert await store.list_cards("acme", 4, before_id=first[-1].id) == cards[2::-1]
    assert await store.list_cards("acme", 4, before_id=cards[0].id) == []
    assert await store.list_cards("acme", 4, before_id="unknown") == []
    odd = await store.list_cards("acme", 2, model="model-1")
    assert odd == [cards[5], cards[3]]
    assert await store.list_cards("acme", 2, model="model-1", before_id=cards[3].id) == [cards[1]]
    assert await store.list_cards("acme", 9, tool_name="search") == [tool_card()]
    assert await store.list_cards("acme", 9, model="model-1", tool_name="search") == []


async def test_a_card_is_withdrawn_once(store: OrganizationCardStore) -> None:
    await add(store, model_card(), tool_card())
    withdrawn = msgspec.structs.replace(model_card(), withdrawn_at_ms=5)
    assert await store.withdraw("acme", model_card().id, 5) == withdrawn
    assert await store.withdraw("acme", model_card().id, 6) == withdrawn
    assert await store.find("acme", model_card().id) == withdrawn
    assert await store.list_cards("acme", 10) == [tool_card(), withdrawn]
    assert await store.not_withdrawn("acme") == [tool_card()]
    assert await store.withdraw("acme", "unknown", 5) is None


async def test_organizations_are_apart(store: OrganizationCardStore) -> None:
    ours, theirs = model_card(), model_card(organization_id="other")
    await add(store, ours, theirs)
    assert await store.find("acme", theirs.id) is None
    assert await store.withdraw("acme", theirs.id, 5) is None
    assert await store.not_withdrawn("acme") == await store.list_cards("acme", 9) == [ours]
    assert await store.not_withdrawn("other") == await store.list_cards("other", 9) == [theirs]
    assert await store.list_cards("acme", 9, before_id=theirs.id) == []
    assert not await store.add(model_card(1), cards_max=1)
    assert await store.add(model_card(1, organization_id="third"), cards_max=1)


async def test_a_full_organization_takes_only_what_it_has(store: OrganizationCardStore) -> None:
    assert await store.add(model_card(), cards_max=1)
    assert not await store.add(tool_card(), cards_max=1)
    assert await store.find("acme", tool_card().id) is None
    assert await store.add(model_card(), cards_max=1)
    # What is withdrawn makes room.
    await store.withdraw("acme", model_card().id, 5)
    assert await store.add(tool_card(), cards_max=1)


async def test_the_version_is_another_after_each_change(store: OrganizationCardStore) -> None:
    versions = [await store.version()]
    for change in (
        store.add(model_card(), cards_max=9),
        store.add(model_card(organization_id="other"), cards_max=9),
        store.withdraw("acme", model_card().id, 5),
        store.add(tool_card(), cards_max=9),
    ):
        await change
        versions.append(await store.version())
    assert len(set(versions)) == 5
    # What changed nothing changes nothing here.
    await store.add(tool_card(), cards_max=9)
    await store.withdraw("acme", model_card().id, 6)
    await store.withdraw("acme", "unknown", 6)
    assert await store.version() == versions[-1]


async def test_cards_made_at_the_same_instant_are_all_kept(store: OrganizationCardStore) -> None:
    cards = [model_card(number) for number in range(20)]
    await asyncio.gather(*(store.add(card, cards_max=100) for card in cards * 2))
    stored = await store.not_withdrawn("acme")
    assert sorted(card.id for card in stored) == sorted(card.id for card in cards)


async def test_processes_that_share_a_store_see_each_others_cards_a_second_later(
    store: OrganizationCardStore,
) -> None:
    seconds = 0.0
    one, other = (OrganizationPrices(store, monotonic=lambda: seconds) for _ in range(2))
    assert await one.get("acme") == await other.get("acme") == {}
    card = model_card()
    await add(store, card)
    one.forget()
    assert await one.get("acme") == {card.key: (card,)}
    assert await other.get("acme") == {}
    seconds = FRESH_SECONDS
    assert await one.get("acme") == await other.get("acme") == {card.key: (card,)}
    await store.withdraw("acme", card.id, 5)
    other.forget()
    assert await other.get("acme") == {}
    assert await one.get("acme") == {card.key: (card,)}
    seconds = 2 * FRESH_SECONDS
    assert await one.get("acme") == {}
