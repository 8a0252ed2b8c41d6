"""Ends of runs are told to real receivers, whatever these do."""

from __future__ import annotations

import asyncio
import logging
import ssl
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from typing import Any

import pytest

from agent_executor.egress.client import EgressClient
from agent_executor.errors import UnavailableError
from agent_executor.executor.journal.journal_postgres import PostgresJournal
from agent_executor.executor.schema import MIGRATIONS
from agent_executor.executor.webhooks.deliveries import DeliveryLimits
from agent_executor.executor.webhooks.store_memory import MemoryWebhookStore
from agent_executor.executor.webhooks.store_sql import SqlWebhookStore
from agent_executor.storage.encryption import KEY_BYTES, Encryption
from agent_executor.storage.postgres import PostgresDatabase
from agent_executor.storage.statements_postgres import PostgresStatementRunner
from tests.integration.executor.webhook_world import SECRET, Outbox, until, verified
from tests.postgres import PostgresServer
from tests.security.egress.world import (
    INSIDE,
    Host,
    Received,
    Tls,
    World,
    answer,
    redirect,
)
from tests.unit.executor.memory_ledger import MemoryLedger
from tests.unit.executor.platforms import ADA


@pytest.fixture(scope="module")
def tls(tmp_path_factory: pytest.TempPathFactory) -> Tls:
    return Tls(tmp_path_factory.mktemp("tls"))


@pytest.fixture
async def world(tls: Tls) -> AsyncIterator[World]:
    async with World(tls) as world:
        world.name("a.test")
        world.name("b.test")
        yield world


MakeOutbox = Callable[..., Outbox]


@pytest.fixture
async def make(world: World) -> AsyncIterator[MakeOutbox]:
    """Yields what makes an outbox, whose deliveries have not begun."""
    async with AsyncExitStack() as stack:

        def outbox(**options: Any) -> Outbox:
            made = Outbox(world, **options)
            stack.push_async_callback(made.close)
            return made

        yield outbox


@pytest.fixture
async def outbox(make: MakeOutbox) -> Outbox:
    made = make()
    made.deliveries.start()
    return made


@pytest.fixture
async def host(world: World) -> Host:
    return await world.host(tls=True)


def url(host: Host, name: str = "a.test", scheme: str = "https") -> str:
    return f"{scheme}://{name}:{host.port}/hook?token=x"


class Holding:
    """Holds answers until a test lets them go, and counts how many it holds of each message."""

    def __init__(self) -> None:
        self.release = asyncio.Event()
        self.held = 0
        self.most = 0
        self.of_message: Counter[str] = Counter()

    async def __call__(self, received: Received, writer: asyncio.StreamWriter) -> None:
        name = received.header("webhook-id") or ""
        self.of_message[name] += 1
        self.held += 1
        self.most = max(self.most, self.held)
        assert self.of_message[name] == 1, "two attempts at the same time"
        await self.release.wait()
        self.held -= 1
        self.of_message[name] -= 1
        await answer(b"")(received, writer)


async def hang_up(received: Received, writer: asyncio.StreamWriter) -> None:
    """Reads the message and breaks off."""
    writer.close()


async def break_off(received: Received, writer: asyncio.StreamWriter) -> None:
    """Breaks off in the middle of an answer."""
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Le")
    await writer.drain()
    writer.close()


async def be_endless(received: Received, writer: asyncio.StreamWriter) -> None:
    """Answers 200 with a body that never ends."""
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000000000\r\n\r\n")
    while True:
        writer.write(b"x" * 65_536)
        await writer.drain()


async def test_the_end_of_a_run_is_told_at_once(outbox: Outbox, host: Host) -> None:
    run_id = await outbox.start(url(host))
    told = await outbox.concluded(run_id)
    assert (told.state, told.status_code, told.attempts, told.error) == ("delivered", 200, 1, "")
    assert (told.due_at_ms, told.secret_ciphertext) == (0, b"")
    [received] = host.received
    assert received.line == "POST /hook?token=x HTTP/1.1"
    assert received.header("webhook-id") == told.webhook_id
    message = verified(received)
    assert message["type"] == "run.completed"
    view = await outbox.platform.runs.get(run_id, ADA)
    assert message["data"]["id"] == run_id
    assert message["data"]["output"]["response"] == view.run.response != ""
    assert message["data"]["last_sequence"] == view.run.last_sequence
    assert outbox.count("delivered") == 1


async def test_a_run_that_was_cancelled_is_told(outbox: Outbox, host: Host) -> None:
    run_id = await outbox.start(url(host), "[[mock: latency_seconds=30]] wait")
    await outbox.platform.runs.cancel(run_id, "why", ADA)
    await outbox.concluded(run_id)
    [received] = host.received
    message = verified(received)
    assert message["type"] == f"run.{message['data']['state']}"


async def test_a_run_without_money_is_told(make: MakeOutbox, host: Host) -> None:
    outbox = make(ledger=MemoryLedger(limit_nano_usd=0))
    outbox.deliveries.start()
    await outbox.concluded(await outbox.start(url(host)))
    assert verified(host.received[0])["type"] == "run.budget_exceeded"


async def test_a_run_that_failed_is_told(make: MakeOutbox, host: Host) -> None:
    outbox = make(ledger=MemoryLedger(error=UnavailableError("The ledger is away.")))
    outbox.deliveries.start()
    await outbox.concluded(await outbox.start(url(host)))
    message = verified(host.received[0])
    assert message["type"] == "run.failed"
    assert message["data"]["error"]


async def test_nobody_is_told_of_other_runs(outbox: Outbox, host: Host) -> None:
    agent_id = await outbox.platform.agent()
    await outbox.platform.runs.execute(agent_id, "hello", ADA)
    await outbox.concluded(await outbox.start(url(host)))
    assert len(host.received) == 1


async def test_a_failure_is_tried_again_as_the_same_message(outbox: Outbox, host: Host) -> None:
    host.default = answer(b"secret of the inside", "500 Oh no")
    run_id = await outbox.start(url(host))
    after = await outbox.concluded(run_id)
    assert (after.state, after.status_code, after.error) == (
        "pending",
        500,
        "The receiver answered 500.",
    )
    assert 3_900 < after.due_at_ms - outbox.now_ms() <= 6_000
    host.default = answer()
    outbox.pass_time(7)
    after = await outbox.concluded(run_id, 2)
    assert (after.state, after.attempts) == ("delivered", 2)
    first, second = host.received
    assert first.header("webhook-id") == second.header("webhook-id")
    assert first.header("webhook-timestamp") != second.header("webhook-timestamp")
    assert first.body == second.body
    assert verified(first) == verified(second)
    assert (outbox.count("retried"), outbox.count("delivered")) == (1, 1)


async def test_a_retry_comes_by_itself_when_it_is_due(make: MakeOutbox, host: Host) -> None:
    outbox = make(limits=DeliveryLimits(sweep_seconds=3600))
    outbox.deliveries._retries = type(outbox.deliveries._retries)(retry_seconds=0.05)
    outbox.deliveries.start()
    host.default = answer(b"", "500 Oh no")
    run_id = await outbox.start(url(host))
    after = await outbox.concluded(run_id, 3)
    assert after.attempts >= 3


async def test_gone_is_the_end_of_it(outbox: Outbox, host: Host) -> None:
    host.default = answer(b"", "410 Gone")
    after = await outbox.concluded(await outbox.start(url(host)))
    assert (after.state, after.status_code, after.due_at_ms) == ("failed", 410, 0)
    outbox.pass_time(90_000)
    assert outbox.count("failed") == 1
    assert await outbox.store.first_due() == {}


async def test_a_receiver_that_asks_for_time_gets_it(outbox: Outbox, host: Host) -> None:
    host.default = answer(b"", "429 Too Many", Retry_After="600")
    after = await outbox.concluded(await outbox.start(url(host)))
    assert after.status_code == 429
    assert 590_000 < after.due_at_ms - outbox.now_ms() <= 600_000


async def test_it_is_given_up_after_a_day(outbox: Outbox, host: Host) -> None:
    host.default = answer(b"", "500 Oh no")
    run_id = await outbox.start(url(host))
    await outbox.concluded(run_id)
    outbox.pass_time(86_400)
    after = await outbox.concluded(run_id, 2)
    assert (after.state, after.error) == ("failed", "The receiver answered 500.")
    assert after.secret_ciphertext == b""


@pytest.mark.parametrize("fault", [hang_up, break_off])
async def test_a_connection_that_breaks_is_tried_again(
    outbox: Outbox, host: Host, fault: Any
) -> None:
    host.default = fault
    after = await outbox.concluded(await outbox.start(url(host)))
    assert (after.state, after.status_code) == ("pending", 0)
    assert "host" in after.error


async def test_an_endless_answer_is_not_read(outbox: Outbox, host: Host) -> None:
    host.default = be_endless
    after = await outbox.concluded(await outbox.start(url(host)))
    assert (after.state, after.status_code) == ("delivered", 200)


async def test_a_slow_receiver_has_its_time_and_no_more(make: MakeOutbox, host: Host) -> None:
    outbox = make(limits=DeliveryLimits(timeout_seconds=0.2))
    outbox.deliveries.start()
    holding = Holding()
    host.default = holding
    after = await outbox.concluded(await outbox.start(url(host)))
    assert (after.state, after.status_code) == ("pending", 0)
    assert "0.2 s" in after.error
    holding.release.set()


async def test_a_slow_receiver_holds_up_nobody_else(make: MakeOutbox, world: World) -> None:
    limits = DeliveryLimits(max_concurrent=3, max_concurrent_per_receiver=2)
    outbox = make(limits=limits)
    outbox.deliveries.start()
    slow, fast = await world.host(tls=True), await world.host(tls=True)
    holding = Holding()
    slow.default = holding
    slow_ids = [await outbox.start(url(slow)) for _ in range(6)]

    async def is_full() -> bool:
        return holding.held == 2

    await until(is_full)
    for _ in range(5):
        fast_id = await outbox.start(url(fast, "b.test"))
        # Not ``concluded``, which waits for all attempts.
        async with asyncio.timeout(60):
            while (await outbox.of(fast_id)).state != "delivered":  # noqa: ASYNC110 -- another task makes no event
                await asyncio.sleep(0.002)
    assert (holding.held, holding.most) == (2, 2)
    holding.release.set()
    for run_id in slow_ids:
        assert (await outbox.concluded(run_id)).state == "delivered"
    assert holding.most == 2


@pytest.mark.parametrize("target", ["same", "inside"])
async def test_a_redirect_is_not_followed(outbox: Outbox, world: World, target: str) -> None:
    host, inside = await world.host(tls=True), await world.host(address=INSIDE)
    elsewhere = f"http://{INSIDE}:{inside.port}/" if target == "inside" else "/other"
    host.default = redirect(elsewhere, "307 Temporary Redirect")
    after = await outbox.concluded(await outbox.start(url(host)))
    assert (after.state, after.status_code) == ("pending", 307)
    assert "redirects are not followed" in after.error
    assert len(host.received) == 1
    assert inside.connections == 0


async def test_a_name_that_leads_inside_is_not_connected_to(outbox: Outbox, world: World) -> None:
    inside = await world.host(address=INSIDE)
    world.name("rebound.test", INSIDE)
    after = await outbox.concluded(await outbox.start(url(inside, "rebound.test", "http")))
    assert (after.state, after.status_code) == ("pending", 0)
    assert after.error == "The host has an address that may not be reached."
    assert inside.connections == 0


async def test_a_name_that_changes_is_checked_again(outbox: Outbox, world: World) -> None:
    inside = await world.host(address=INSIDE)
    host = await world.host(tls=True)
    host.default = answer(b"", "500 Oh no")
    world.name("c.test")
    run_id = await outbox.start(url(host, "c.test"))
    await outbox.concluded(run_id)
    world.name("c.test", INSIDE)
    outbox.pass_time(7)

    async def is_refused() -> bool:
        return "may not be reached" in (await outbox.of(run_id)).error

    await until(is_refused)
    assert inside.connections == 0


async def test_a_name_that_is_none_is_tried_again(outbox: Outbox, host: Host) -> None:
    after = await outbox.concluded(await outbox.start(url(host, "nowhere.test")))
    assert (after.state, after.error) == ("pending", "The host's name could not be resolved.")


async def test_certificates_are_verified(make: MakeOutbox, world: World, host: Host) -> None:
    strangers = EgressClient(ssl_context=ssl.create_default_context(), resolver=world.resolve)
    outbox = make(client=strangers)
    outbox.deliveries.start()
    after = await outbox.concluded(await outbox.start(url(host)))
    assert (after.state, after.status_code) == ("pending", 0)
    assert after.error == "The host's certificate could not be verified."
    assert host.received == []


async def test_a_certificate_of_another_name_is_refused(outbox: Outbox, world: World) -> None:
    host = await world.host(tls=True)
    world.name("d.test")
    after = await outbox.concluded(await outbox.start(url(host, "d.test")))
    assert after.error == "The host's certificate could not be verified."
    assert host.received == []


async def test_what_was_left_is_found_without_being_told(make: MakeOutbox, host: Host) -> None:
    outbox = make()
    outbox.platform.drivers.on_webhook_due = None
    run_id = await outbox.start(url(host))
    await outbox.platform.drivers.ends.wait(run_id)
    assert host.received == []
    outbox.deliveries.start()
    assert (await outbox.concluded(run_id)).state == "delivered"


async def test_the_sweep_finds_what_another_executor_has_left(make: MakeOutbox, host: Host) -> None:
    outbox = make(limits=DeliveryLimits(sweep_seconds=0.05))
    outbox.deliveries.start()
    outbox.platform.drivers.on_webhook_due = None
    run_id = await outbox.start(url(host))
    assert (await outbox.concluded(run_id)).state == "delivered"


async def test_who_stops_gives_back_what_is_under_way(
    make: MakeOutbox, host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("agent_executor.executor.webhooks.deliveries.LAST_WORDS_SECONDS", 0.0)
    outbox = make()
    outbox.deliveries.start()
    holding = Holding()
    host.default = holding
    run_id = await outbox.start(url(host))
    await host.reached.wait()
    await outbox.deliveries.stop()
    given_back = await outbox.of(run_id)
    assert (given_back.state, given_back.attempts) == ("pending", 1)
    assert given_back.due_at_ms <= outbox.now_ms()
    host.default = answer()
    heir = make(journal=outbox.platform.journal)
    heir.deliveries.start()
    after = await heir.concluded(run_id, 2)
    assert (after.state, after.attempts) == ("delivered", 2)


async def test_an_attempt_whose_executor_died_is_made_again(make: MakeOutbox, host: Host) -> None:
    dead = make()
    dead.platform.drivers.on_webhook_due = None
    run_id = await dead.start(url(host))
    await dead.platform.drivers.ends.wait(run_id)
    [origin] = await dead.store.first_due()
    now_ms = dead.now_ms()
    [_] = await dead.store.claim(origin, now_ms, now_ms + 30_000, 1)
    heir = make(journal=dead.platform.journal)
    heir.deliveries.start()
    heir.pass_time(31)
    assert (await heir.concluded(run_id, 2)).state == "delivered"


async def test_a_secret_of_another_key_is_the_end_of_it(make: MakeOutbox, host: Host) -> None:
    outbox = make()
    outbox.deliveries._sender._encryption = Encryption(b"\1" * KEY_BYTES)  # type: ignore[attr-defined]  # its own sender
    outbox.deliveries.start()
    after = await outbox.concluded(await outbox.start(url(host)))
    assert after.state == "failed"
    assert "decrypted" in after.error
    assert host.received == []


async def test_a_bug_is_a_failure_like_any_other(
    outbox: Outbox, host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*arguments: object) -> bytes:
        raise KeyError("secret")

    monkeypatch.setattr("agent_executor.executor.webhooks.sender.body_of", fail)
    after = await outbox.concluded(await outbox.start(url(host)))
    assert (after.state, after.error) == ("pending", "The executor could not send it.")
    assert after.due_at_ms <= outbox.now_ms() + 6_000


async def test_a_storage_that_was_away_is_asked_again(
    make: MakeOutbox, host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    first_due, claim = MemoryWebhookStore.first_due, MemoryWebhookStore.claim
    failing = ["first_due", "claim"]

    async def may_fail(name: str) -> None:
        if name in failing:
            failing.remove(name)
            raise UnavailableError("The storage is away.")

    async def first_due_or_not(self: MemoryWebhookStore) -> Any:
        await may_fail("first_due")
        return await first_due(self)

    async def claim_or_not(self: MemoryWebhookStore, *arguments: Any) -> Any:
        await may_fail("claim")
        return await claim(self, *arguments)

    monkeypatch.setattr(MemoryWebhookStore, "first_due", first_due_or_not)
    monkeypatch.setattr(MemoryWebhookStore, "claim", claim_or_not)
    outbox = make(limits=DeliveryLimits(sweep_seconds=0.05))
    outbox.deliveries.start()
    assert (await outbox.concluded(await outbox.start(url(host)))).state == "delivered"
    assert failing == []


async def test_the_log_says_what_was_done_and_no_secret(
    outbox: Outbox, host: Host, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.DEBUG):
        run_id = await outbox.start(url(host))
        await outbox.concluded(run_id)
    [line] = [
        record.getMessage()
        for record in caplog.records
        if record.name == "agent_executor.executor.webhooks.deliveries"
    ]
    assert run_id in line
    assert f"https://a.test:{host.port}" in line
    assert "delivered" in line
    assert SECRET not in caplog.text
    assert "token=x" not in line


async def test_two_executors_on_one_database_make_one_attempt_at_a_time(
    make: MakeOutbox, world: World, postgres_server: PostgresServer
) -> None:
    name = await postgres_server.new_database(MIGRATIONS)
    databases = [PostgresDatabase(postgres_server.url(name)) for _ in range(2)]
    host = await world.host(tls=True)
    holding = Holding()
    host.default = holding
    outboxes = [
        make(
            journal=PostgresJournal(database),
            store=SqlWebhookStore(PostgresStatementRunner(database)),
            limits=DeliveryLimits(sweep_seconds=0.02, max_concurrent_per_receiver=8),
        )
        for database in databases
    ]
    for outbox in outboxes:
        outbox.deliveries.start()
    run_ids = [await outboxes[n % 2].start(url(host)) for n in range(24)]

    async def are_both_full() -> bool:
        return holding.held == 16

    await until(are_both_full)
    holding.release.set()
    for run_id in run_ids:
        after = await outboxes[0].concluded(run_id)
        assert (after.state, after.attempts) == ("delivered", 1)
    assert Counter(verified(each)["data"]["id"] for each in host.received) == dict.fromkeys(
        run_ids, 1
    )
    assert all(outbox.count("delivered") >= 8 for outbox in outboxes)
    for outbox in outboxes:
        await outbox.close()
    for database in databases:
        await database.close()
    await postgres_server.drop_database(name)
