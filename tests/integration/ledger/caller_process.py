"""A process in which many callers hold money and settle, in a database that others use as well.

    python caller_process.py DATABASE_URL CALLERS NUMBER

It prints how many were let in of each organization.
"""

from __future__ import annotations

import asyncio
import random
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[3]))

from agent_executor.ledger.accounting.commands import Reserve, Settle
from agent_executor.ledger.accounting.reservation import Reservation
from agent_executor.ledger.accounting.token_usage import TokenCounts
from tests.contract.ledger.accounting_steps import do
from tests.contract.ledger.stores import open_postgres
from tests.unit.ledger.accounting_samples import CARD, NOW_MS, entry, hold

ORGANIZATIONS = ("acme", "beta", "gamma")
CALLS_IN_A_BATCH = 7
ALL = TokenCounts(100, 20)


async def main(database_url: str, callers: int, number: str) -> None:
    store = open_postgres(database_url).store
    commands = [
        Reserve(hold(f"call-{number}-{one}", organization_id=organization_id), CARD)
        for one in range(callers // 2)
        for organization_id in ORGANIZATIONS
    ]
    random.shuffle(commands)
    batches = [
        commands[first : first + CALLS_IN_A_BATCH]
        for first in range(0, len(commands), CALLS_IN_A_BATCH)
    ]
    # Several organizations in one call, in any order, which must never wait in a ring.
    answers = await asyncio.gather(*(store.apply(batch, NOW_MS) for batch in batches))
    held = [one for answer in answers for one in answer if isinstance(one, Reservation)]
    await asyncio.gather(
        *(
            # For all that is held, so that nobody is let in by what another one leaves.
            do(store, Settle(entry(one.id, organization_id=one.organization_id, usage=ALL), CARD))
            for one in held
        )
    )
    for organization_id in ORGANIZATIONS:
        count = sum(one.organization_id == organization_id for one in held)
        sys.stdout.write(f"{count}\n")
    await store.close()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], int(sys.argv[2]), sys.argv[3]))
