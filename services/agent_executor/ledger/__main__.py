"""``python -m agent_executor.ledger`` runs the service."""

from agent_executor.ledger.bootstrap import main

raise SystemExit(main())
