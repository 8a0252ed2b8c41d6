"""A tool-runner under attack: a pool of workers in a process and an environment of its own.

    python -m tests.security.sandbox.attacked_pool ENVIRONMENT LIMITS

It reads requests line by line as JSON objects with an ``id``, serves them at the same time, and
writes an answer with that ``id`` for each.
"""

from __future__ import annotations

import asyncio
import dataclasses
import json
import sys
import time
from pathlib import Path
from typing import Any

from agent_executor.errors import AgentExecutorError
from agent_executor.tool_runner.isolation.limits import SandboxLimits
from agent_executor.tool_runner.isolation.pool import WorkerPool
from agent_executor.tool_runner.tool_program import ToolProgram
from tests.integration.tool_runner.isolation.sandbox_process import ENVIRONMENTS, enter

LARGE_BODY = "x" * 8_000_000


class AttackedPool:
    """The pool, and the broker that its tools talk to."""

    def __init__(self, pool: WorkerPool) -> None:
        self._pool = pool
        self._requests_seen: list[str] = []
        self._memory_seen: list[dict[str, int]] = []
        self._release = asyncio.Event()

    async def answer(self, request: dict[str, Any]) -> dict[str, Any]:
        """Returns the answer to one request."""
        match request["operation"]:
            case "state":
                return self._state()
            case "release":
                self._release.set()
                self._release = asyncio.Event()
                return {}
            case "storm":
                return {"answers": await asyncio.gather(*map(self._run, request["calls"]))}
            case _:
                return await self._run(request)

    def _state(self) -> dict[str, Any]:
        requests, self._requests_seen = self._requests_seen, []
        memory, self._memory_seen = self._memory_seen, []
        return {
            **dataclasses.asdict(self._pool.status),
            "launcher_pids": self._pool.launcher_pids,
            "requests_seen": requests,
            "memory_seen": memory,
        }

    async def _run(self, request: dict[str, Any]) -> dict[str, Any]:
        began = time.monotonic()
        outcome = await self._outcome(request)
        return {**outcome, "seconds": time.monotonic() - began}

    async def _outcome(self, request: dict[str, Any]) -> dict[str, Any]:
        program = ToolProgram(
            "probe", request["source"], request["class_name"], request["organization_id"]
        )
        seconds = request["timeout_seconds"]
        try:
            if request["operation"] == "inspect":
                description = await self._pool.inspect(program, timeout_seconds=seconds)
                return {"result": dataclasses.asdict(description)}
            text = await self._pool.call(
                program, request["arguments_json"], timeout_seconds=seconds, broker=self._broker
            )
        except AgentExecutorError as error:
            return {
                "error": type(error).__name__,
                "message": error.message,
                "metadata": error.metadata,
                "retry_after_seconds": error.retry_after_seconds,
            }
        except Exception as error:  # noqa: BLE001 -- no tool may cause one, which the arena asserts
            return {"crash": repr(error)}
        return {"result": json.loads(text)}

    async def _broker(self, request: dict[str, Any]) -> dict[str, Any]:
        self._requests_seen.append(request["url"][:100])
        if request["url"] == "hold":
            await self._release.wait()
        if request["url"] == "memory":
            self._memory_seen += self._memory_of_all()
        return {"status_code": 200, "body": LARGE_BODY if request["url"] == "large" else "small"}

    def _memory_of_all(self) -> list[dict[str, int]]:
        processes = [entry for entry in Path("/proc").iterdir() if entry.name.isdecimal()]
        return [peaks for process in processes if (peaks := self._memory_of(process))]

    def _memory_of(self, process: Path) -> dict[str, int]:
        """Returns the peaks of one of our processes in KiB; nothing for others."""
        try:
            session = int((process / "stat").read_text().rpartition(")")[2].split()[3])
            if session not in self._pool.launcher_pids:
                return {}
            lines = (process / "status").read_text().splitlines()
        except OSError:
            return {}
        fields = dict(line.split(":", 1) for line in lines)
        return {name: int(fields[name].split()[0]) for name in ("VmPeak", "VmHWM")}


async def main(environment: str, limits: str) -> None:
    pool = WorkerPool(SandboxLimits(**json.loads(limits)), tier=ENVIRONMENTS[environment].tier)
    await pool.start()
    attacked = AttackedPool(pool)

    async def serve(request: dict[str, Any]) -> None:
        say({**await attacked.answer(request), "id": request["id"]})

    say(dataclasses.asdict(pool.status))
    async with asyncio.TaskGroup() as requests:
        while line := await asyncio.to_thread(sys.stdin.readline):
            requests.create_task(serve(json.loads(line)))
    await pool.close()


def say(value: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(value) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    enter(ENVIRONMENTS[sys.argv[1]])
    asyncio.run(main(*sys.argv[1:]))
