"""``python -m agent_executor.tool_runner`` runs the service."""

from agent_executor.tool_runner.bootstrap import main

raise SystemExit(main())
