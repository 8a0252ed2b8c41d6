"""`python -m agent_executor.cli` is `agent-executor`."""

from __future__ import annotations

from agent_executor.cli.main import main

main()
