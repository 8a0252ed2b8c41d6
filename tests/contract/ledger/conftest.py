"""The stores that the accounting contract is tested on."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from agent_executor.ledger.accounting.store import AccountingStore
from tests.contract.ledger.stores import ADAPTERS, open_store
from tests.unit.ledger.accounting_samples import CARDS


@pytest.fixture(params=ADAPTERS)
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[AccountingStore]:
    """Yields each adapter, empty but for the rate cards."""
    async with open_store(request.param, request, tmp_path) as opened:
        for card in CARDS:
            await opened.store.put_rate_card(card, "test")
        yield opened.store
