"""A process that is made to be killed: many callers hold and settle, and each tells what it knows.

    python ledger_process.py DATABASE ROUND

DATABASE is a file or the URL of a PostgreSQL database. A line says what is about to be asked
(``ask``) or what was acknowledged (``held``, ``refused``, ``settled``), and the id.
"""

from __future__ import annotations

import asyncio
import os
import random
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[3]))

from agent_executor.ledger.accounting.commands import Recorded, Reserve, Settle, Void
from agent_executor.ledger.accounting.reservation import Reservation
from agent_executor.ledger.accounting.token_usage import TokenCounts
from tests.contract.ledger.accounting_steps import do
from tests.contract.ledger.stores import open_postgres, open_sqlite
from tests.unit.ledger.accounting_samples import CARD, NOW_MS, entry, hold, tool_entry

CALLERS = 32
USERS = ("ada", "bob", "eve")


def tell(what: str, call_id: str) -> None:
    """Writes a line at once, so that no acknowledgement is lost with the process."""
    os.write(1, f"{what} {call_id}\n".encode())


def settlement(call_id: str) -> Settle:
    """Returns how a call is settled: whoever asks again, asks the same."""
    chance = random.Random(call_id)
    user_id = chance.choice(USERS)
    usage = TokenCounts(chance.randrange(101), chance.randrange(21))
    tools = (tool_entry(f"{call_id}-tool", user_id=user_id),) if chance.random() < 0.3 else ()
    return Settle(entry(call_id, user_id=user_id, usage=usage), CARD, tools)


async def call_for_ever(database: str, round_number: str) -> None:
    is_url = database.startswith("postgresql:")
    store = (open_postgres(database) if is_url else open_sqlite(Path(database))).store

    async def call(caller: int) -> None:
        number = 0
        while True:
            number += 1
            call_id = f"{round_number}-{caller}-{number}"
            settling = settlement(call_id)
            tell("ask", call_id)
            asked = Reserve(hold(call_id, user_id=settling.entry.user_id), CARD)
            if not isinstance(await do(store, asked), Reservation):
                tell("refused", call_id)
            elif number % 7 == 0:
                await do(store, Void("acme", call_id), NOW_MS)
                tell("voided", call_id)
            else:
                tell("held", call_id)
                outcome = await do(store, settling)
                assert isinstance(outcome, Recorded)
                tell("settled", call_id)

    await asyncio.gather(*(call(caller) for caller in range(CALLERS)))


if __name__ == "__main__":
    asyncio.run(call_for_ever(sys.argv[1], sys.argv[2]))
