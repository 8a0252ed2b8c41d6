"""The `agent-executor` command: starts the platform, issues tokens, shows what it does."""
