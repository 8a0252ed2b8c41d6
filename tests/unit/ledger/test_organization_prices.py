from __future__ import annotations

import asyncio

import pytest

from agent_executor.errors import UnavailableError
from agent_executor.ledger.prices import organization_prices
from agent_executor.ledger.prices.card_checks import NewCard
from agent_executor.ledger.prices.organization_card import OrganizationCard
from agent_executor.ledger.prices.organization_prices import OrganizationPrices
from agent_executor.ledger.prices.store_memory import MemoryOrganizationCardStore
from tests.unit.ledger.price_samples import ADA, CARD, MODEL, Clock, Pricing, own_card, rates


class CountingStore(MemoryOrganizationCardStore):
    """Counts reads; a read waits while it is told to, with what was there when it began."""

    def __init__(self) -> None:
        super().__init__()
        self.versions = 0
        self.reads: list[str] = []
        self.reading = asyncio.Event()
        self.go_on = asyncio.Event()
        self.go_on.set()

    async def version(self) -> tuple[int, ...]:
        self.versions += 1
        version = await super().version()
        await self.go_on.wait()
        return version

    async def not_withdrawn(self, organization_id: str) -> list[OrganizationCard]:
        self.reads.append(organization_id)
        cards = await super().not_withdrawn(organization_id)
        self.reading.set()
        await self.go_on.wait()
        return cards


async def test_cards_are_read_once_until_something_changes() -> None:
    store, clock = CountingStore(), Clock()
    own = OrganizationPrices(store, monotonic=clock)
    for _ in range(3):
        await asyncio.gather(*(own.get(name) for name in ("acme", "other") * 10))
        clock.now_ms += 1_000
    assert store.versions == 3
    assert store.reads == ["acme", "other"]
    await store.add(own_card(), cards_max=10)
    assert [len(await own.get(name)) for name in ("acme", "other")] == [1, 0]
    assert store.reads == ["acme", "other"] * 2


async def test_the_process_that_made_a_card_uses_it_at_once_and_others_within_a_second() -> None:
    here = Pricing()
    there = Pricing(here.store, here.used_cards, here.clock)
    assert await here.find() == await there.find() == CARD
    made = await here.administration.create(NewCard(model=MODEL, rates=rates(7)), ADA)
    assert (await here.find()).id == made.id
    assert await there.find() == CARD
    here.clock.now_ms += 1_000
    assert (await here.find()).id == (await there.find()).id == made.id
    await there.administration.withdraw(made.id, ADA)
    assert await there.find() == CARD
    assert (await here.find()).id == made.id
    here.clock.now_ms += 1_000
    assert await here.find() == CARD


async def test_what_was_read_before_a_write_is_not_kept_after_it() -> None:
    store = CountingStore()
    own = OrganizationPrices(store, monotonic=Clock())
    await own.get("acme")
    store.go_on.clear()
    store.reading.clear()
    reading = asyncio.create_task(own.get("other"))
    await store.reading.wait()
    card = own_card(organization_id="other")
    await store.add(card, cards_max=10)
    own.forget()
    store.go_on.set()
    assert await reading == {}
    assert await own.get("other") == {card.key: (card,)}
    assert await own.get("acme") == {}


async def test_a_write_while_the_version_is_asked_for_is_seen() -> None:
    store, clock = CountingStore(), Clock()
    own = OrganizationPrices(store, monotonic=clock)
    await own.get("acme")
    clock.now_ms += 1_000
    store.go_on.clear()
    reading = asyncio.create_task(own.get("acme"))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert store.versions == 2
    card = own_card()
    await store.add(card, cards_max=10)
    own.forget()
    store.go_on.set()
    await reading
    assert await own.get("acme") == {card.key: (card,)}


async def test_a_failed_read_is_tried_again_by_the_next() -> None:
    class AwayStore(MemoryOrganizationCardStore):
        is_away = True

        async def not_withdrawn(self, organization_id: str) -> list[OrganizationCard]:
            if self.is_away:
                raise UnavailableError("The database is away.")
            return await super().not_withdrawn(organization_id)

    store = AwayStore()
    own = OrganizationPrices(store, monotonic=Clock())
    with pytest.raises(UnavailableError):
        await own.get("acme")
    store.is_away = False
    assert await own.get("acme") == {}


async def test_a_cancelled_reader_does_not_hinder_the_next() -> None:
    store = CountingStore()
    own = OrganizationPrices(store, monotonic=Clock())
    store.go_on.clear()
    first, second = (asyncio.create_task(own.get("acme")) for _ in range(2))
    await asyncio.sleep(0)
    first.cancel()
    store.go_on.set()
    with pytest.raises(asyncio.CancelledError):
        await first
    assert await second == {}


async def test_organizations_do_not_fill_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(organization_prices, "ORGANIZATIONS_MAX", 3)
    own = OrganizationPrices(MemoryOrganizationCardStore(), monotonic=Clock())
    for number in range(10):
        await own.get(f"organization-{number}")
        assert len(own._by_organization) <= 3
