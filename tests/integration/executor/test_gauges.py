"""What waits in the database is told alike by every executor on it."""

from __future__ import annotations

import math
from collections.abc import AsyncIterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from pydantic import SecretStr

from agent_executor.executor.approvals.approval import Approval
from agent_executor.executor.identifiers import new_id
from agent_executor.executor.journal.journal import RunRecord
from agent_executor.executor.log.run_event import RunEvent, RunStarted
from agent_executor.executor.sampling import ExecutorGauges
from agent_executor.executor.schema import MIGRATIONS
from agent_executor.executor.settings import ExecutorSettings
from agent_executor.executor.storage import ExecutorStorage, open_storage
from agent_executor.executor.webhooks.delivery import Webhook
from agent_executor.serving.metrics import Metrics
from tests.postgres import PostgresServer

NOW_MS = 100_000
STARTED = RunEvent(1, 1_000, RunStarted("agent", 1, "model", "input"))


@pytest.fixture(params=["sqlite", "postgres"])
async def storage(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[ExecutorStorage]:
    settings = ExecutorSettings(data_dir=tmp_path)
    if request.param == "postgres":
        server: PostgresServer = request.getfixturevalue("postgres_server")
        name = await server.new_database(MIGRATIONS)
        url = SecretStr(server.url(name))
        opened = await open_storage(ExecutorSettings(data_dir=tmp_path, database_url=url))
        yield opened
        await opened.close()
        await server.drop_database(name)
        return
    opened = await open_storage(settings)
    yield opened
    await opened.close()


async def begin(storage: ExecutorStorage, *, owner: str = "", created_at_ms: int = 1_000) -> str:
    run = RunRecord(
        run_id=new_id(),
        organization_id="acme",
        user_id="ada",
        permissions=(),
        agent_id="agent",
        agent_version=1,
        model="model",
        input="input",
        is_test=False,
        traceparent="",
        created_at_ms=created_at_ms,
        owner=owner,
        state="running" if owner else "pending",
        last_sequence=1,
        has_webhook=True,
    )
    webhook = Webhook(f"msg_{run.run_id}", "https://a.test/", "https://a.test", b"secret")
    await storage.journal.create(run, [STARTED], webhook=webhook)
    return run.run_id


class Executor:
    """An executor's gauges on a storage."""

    def __init__(self, storage: ExecutorStorage) -> None:
        self.metrics = Metrics()
        runs: Any = SimpleNamespace(owned_count=3, feed=SimpleNamespace(reader_count=2))
        engine: Any = SimpleNamespace(settlements_under_way={"call-1": 0.0, "call-2": 1.0})
        self.gauges = ExecutorGauges(storage, runs, engine, self.metrics, lambda: NOW_MS)

    def value(self, name: str, **labels: str) -> float | None:
        return self.metrics.registry.get_sample_value(f"agent_executor_{name}", labels)


async def test_an_empty_database_is_zero(storage: ExecutorStorage) -> None:
    executor = Executor(storage)
    await executor.gauges.look()
    for name in (
        *("runs_waiting", "runs_waiting_oldest_seconds", "webhooks_waiting"),
        *("approvals_waiting", "approvals_waiting_oldest_seconds"),
    ):
        assert executor.value(name) == 0, name


async def test_every_executor_tells_of_all_that_wait(storage: ExecutorStorage) -> None:
    await begin(storage, owner="w/1")
    await begin(storage, created_at_ms=60_000)
    await begin(storage, created_at_ms=40_000)
    executors = [Executor(storage), Executor(storage)]
    for executor in executors:
        await executor.gauges.look()
        assert executor.value("runs_waiting") == 2
        assert executor.value("runs_waiting_oldest_seconds") == 60
    assert await storage.journal.claim("w/1", NOW_MS, 1, waiting_only=True)
    await executors[1].gauges.look()
    assert executors[1].value("runs_waiting") == 1


async def test_only_what_a_person_can_decide_waits_for_one(storage: ExecutorStorage) -> None:
    run_id = await begin(storage, owner="w/1")
    asked = [
        Approval(
            run_id=run_id,
            tool_call_id=f"call-{number}",
            organization_id="acme",
            agent_id="agent",
            tool_name="calculator",
            arguments_json="{}",
            reason="",
            created_at_ms=number * 10_000,
            expires_at_ms=expires_at_ms,
        )
        for number, expires_at_ms in ((1, NOW_MS), (2, NOW_MS + 1), (3, NOW_MS + 1))
    ]
    await storage.approvals.request(asked, 0)
    executor = Executor(storage)
    await executor.gauges.look()
    assert executor.value("approvals_waiting") == 2
    assert executor.value("approvals_waiting_oldest_seconds") == 80


async def test_what_the_executor_itself_has_is_told(storage: ExecutorStorage) -> None:
    executor = Executor(storage)
    await executor.gauges.look()
    assert executor.value("runs_owned") == 3
    assert executor.value("event_streams_open") == 2
    assert executor.value("unsettled_model_calls") == 2
    assert (executor.value("unsettled_model_calls_oldest_seconds") or 0) > 0


async def test_connections_are_told_of_where_there_are_any(storage: ExecutorStorage) -> None:
    executor = Executor(storage)
    await begin(storage)
    await executor.gauges.look()
    await executor.gauges.look()
    uses = [executor.value("database_connections", use=use) for use in ("writing", "reading")]
    idle = executor.value("database_connections", use="idle")
    if storage.connections():
        assert uses == [0, 0]
        assert (idle or 0) >= 2
    else:
        assert (*uses, idle) == (None, None, None)


async def test_what_cannot_be_looked_up_is_no_number(storage: ExecutorStorage) -> None:
    executor = Executor(storage)
    await executor.gauges.look()
    await storage.close()
    with pytest.raises(Exception, match="closed"):
        await executor.gauges.look()
    assert math.isnan(executor.value("runs_waiting") or 0)
    assert executor.value("runs_owned") == 3
