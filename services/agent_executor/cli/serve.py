"""`agent-executor serve`: becomes one process of the platform, for containers."""

from __future__ import annotations

import os
import sys
from enum import Enum
from typing import Annotated

import typer


class Service(Enum):
    """What can be served."""

    EXECUTOR = "executor"
    TOOL_RUNNER = "tool-runner"
    LEDGER = "ledger"
    WEB = "web"


def serve(service: Annotated[Service, typer.Argument(help="Which service.")]) -> None:
    """Run one service in the foreground; its settings are environment variables.

    For example:

        LEDGER_DATA_DIR=/data LEDGER_GRPC_PORT=50053 agent-executor serve ledger

        EXECUTOR_LEDGER_ADDRESS=ledger:50053 agent-executor serve executor
    """
    module = f"agent_executor.{service.value.replace('-', '_')}"
    # The service takes the place of this process, so that signals reach it.
    os.execv(sys.executable, [sys.executable, "-m", module])  # noqa: S606 -- one of four modules
