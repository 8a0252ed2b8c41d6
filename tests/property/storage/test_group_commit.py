"""Whatever is submitted, however it is batched: as if each had run alone, in order."""

from __future__ import annotations

import asyncio
import sqlite3
import tempfile
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from hypothesis import given
from hypothesis import strategies as st

from agent_executor.storage.group_commit import GroupCommitWriter
from agent_executor.storage.sqlite import connect_writable

BALANCE = 100


class GuiltyError(Exception):
    """What an operation that raises raises."""


@dataclass(frozen=True)
class Withdrawal:
    """Takes an amount from the account, or refuses; ``raising`` fails after its writes."""

    amount: int
    raising: bool
    abandoned: bool
    pause_before: Literal["none", "event loop", "committed"]

    def __call__(self, connection: sqlite3.Connection) -> int | None:
        taken = connection.execute(
            "UPDATE account SET balance = balance - ?1 WHERE balance >= ?1 RETURNING balance",
            (self.amount,),
        ).fetchall()
        if self.raising:
            raise GuiltyError
        return int(taken[0][0]) if taken else None


WITHDRAWALS = st.lists(
    st.builds(
        Withdrawal,
        amount=st.integers(1, 40),
        raising=st.booleans(),
        abandoned=st.booleans(),
        pause_before=st.sampled_from(["none", "event loop", "committed"]),
    ),
    max_size=20,
)


def run_in_order(withdrawals: list[Withdrawal]) -> tuple[list[object], int]:
    """Return what serial execution gives: the outcomes, and the balance in the end."""
    balance = BALANCE
    outcomes: list[object] = []
    for withdrawal in withdrawals:
        if withdrawal.raising:
            outcomes.append(GuiltyError)
        elif balance >= withdrawal.amount:
            balance -= withdrawal.amount
            outcomes.append(balance)
        else:
            outcomes.append(None)
    return outcomes, balance


async def run_through_writer(
    connect: Callable[[], sqlite3.Connection], withdrawals: list[Withdrawal], max_batch: int
) -> tuple[list[object], int]:
    """Submit all and return the same; an abandoned one's outcome is ``CancelledError``."""
    writer = GroupCommitWriter(connect, max_batch=max_batch)
    gate = threading.Event()
    tasks: list[asyncio.Task[object]] = [asyncio.create_task(writer.submit(lambda _: gate.wait(9)))]
    for withdrawal in withdrawals:
        if withdrawal.pause_before == "event loop":
            await asyncio.sleep(0)
        elif withdrawal.pause_before == "committed":
            gate.set()
            await asyncio.wait(tasks)
        task: asyncio.Task[object] = asyncio.create_task(writer.submit(withdrawal))
        tasks.append(task)
        if withdrawal.abandoned:
            await asyncio.sleep(0)
            task.cancel()
    await asyncio.sleep(0)
    gate.set()
    outcomes = await asyncio.gather(*tasks[1:], return_exceptions=True)
    await writer.close()
    with_types = [type(each) if isinstance(each, BaseException) else each for each in outcomes]
    connection = connect()
    balance = connection.execute("SELECT balance FROM account").fetchone()[0]
    connection.close()
    return with_types, balance


@given(WITHDRAWALS, st.integers(1, 8))
def test_any_interleaving_is_the_serial_execution(
    withdrawals: list[Withdrawal], max_batch: int
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "account.sqlite3"

        def connect() -> sqlite3.Connection:
            return connect_writable(path)

        connection = connect()
        connection.execute(f"CREATE TABLE account AS SELECT {BALANCE} AS balance")
        connection.close()
        outcomes, balance = asyncio.run(run_through_writer(connect, withdrawals, max_batch))

    expected, expected_balance = run_in_order(withdrawals)
    for withdrawal, outcome, expectation in zip(withdrawals, outcomes, expected, strict=True):
        if not (withdrawal.abandoned and outcome is asyncio.CancelledError):
            assert outcome == expectation
    assert balance == expected_balance
