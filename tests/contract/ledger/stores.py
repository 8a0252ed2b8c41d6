"""Every kind of accounting store, empty, for tests that all of them must pass."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import NamedTuple, TypeAlias

import pytest

from agent_executor.ledger.accounting.book import Rollup, RollupKey
from agent_executor.ledger.accounting.memory_ledger import MemoryLedger
from agent_executor.ledger.accounting.store import AccountingStore
from agent_executor.ledger.accounting.store_memory import MemoryAccountingStore

ADAPTERS = ("memory",)

Rollups: TypeAlias = dict[RollupKey, Rollup]


class OpenedStore(NamedTuple):
    """A store, and a look at what it keeps besides.

    Attributes:
        rollups: Reads the roll-ups of an organization.
    """

    store: AccountingStore
    rollups: Callable[[str], Awaitable[Rollups]]


@asynccontextmanager
async def open_store(
    adapter: str, request: pytest.FixtureRequest, folder: Path
) -> AsyncIterator[OpenedStore]:
    """Yields an empty store of a kind, which keeps what it keeps in a folder, or in a server."""
    assert adapter == "memory"
    ledger = MemoryLedger()

    async def rollups(organization_id: str) -> Rollups:
        return ledger.organizations[organization_id].rollups

    store = MemoryAccountingStore(ledger)
    yield OpenedStore(store, rollups)
    await store.close()
