"""A tool-runner with one unsafe tool, to be killed: ``python tool_runner_process.py WITNESS``.

It writes the port that it serves gRPC on to its standard output.
"""

from __future__ import annotations

import asyncio
import functools
import sys
from pathlib import Path
from typing import Any

from agent_executor.serving.server import started
from agent_executor.tool_runner.bootstrap import SERVICE_NAME, bootstrap
from agent_executor.tool_runner.settings import ToolRunnerSettings
from agent_executor.tool_runner.tool_base import Effect, ToolBase


class Witnessed(ToolBase):
    """Leaves a line where the test sees it, and hangs the first time."""

    def __init__(self, name: str, effect: Effect, witness: Path) -> None:
        super().__init__(name, "Has an effect that a test can count.", effect=effect)
        self._witness = witness

    async def _execute_impl(self, arguments: dict[str, Any]) -> Any:
        with self._witness.open("a") as file:
            file.write(f"{self.name}\n")
        lines = self._witness.read_text().splitlines()
        if lines.count(self.name) == 1:
            await asyncio.Event().wait()
        return {"done": True}


async def main(witness: Path) -> None:
    tools = (
        Witnessed("unsafe", "unsafe", witness),
        Witnessed("idempotent", "idempotent", witness),
    )
    build = functools.partial(bootstrap, further_tools=tools)
    async with started(SERVICE_NAME, ToolRunnerSettings(), build) as service:
        sys.stdout.write(f"{service.grpc_port}\n")
        sys.stdout.flush()
        await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1])))
