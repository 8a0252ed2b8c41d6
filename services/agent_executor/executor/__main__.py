"""``python -m agent_executor.executor`` runs the service."""

from agent_executor.executor.bootstrap import main

raise SystemExit(main())
