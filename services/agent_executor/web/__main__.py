"""``python -m agent_executor.web`` runs the process."""

from agent_executor.web.bootstrap import main

raise SystemExit(main())
