"""A process that is made to be killed: many callers write, and each tells what was acknowledged."""

from __future__ import annotations

import asyncio
import itertools
import os
import sqlite3
import sys
from pathlib import Path

from agent_executor.storage.sqlite import SqliteDatabase

CALLERS = 32


async def write_for_ever(path: Path, first_id: int) -> None:
    database = SqliteDatabase(path)
    ids = itertools.count(first_id)

    async def call() -> None:
        while True:
            entry_id = next(ids)

            def insert_two_rows(connection: sqlite3.Connection, entry_id: int = entry_id) -> None:
                connection.execute("INSERT INTO entries VALUES (?, 'debit')", (entry_id,))
                connection.execute("INSERT INTO entries VALUES (?, 'credit')", (entry_id,))

            await database.writer.submit(insert_two_rows)
            os.write(1, b"%d\n" % entry_id)

    await asyncio.gather(*(call() for _ in range(CALLERS)))


if __name__ == "__main__":
    asyncio.run(write_for_ever(Path(sys.argv[1]), int(sys.argv[2])))
