"""Tool calls that wait for a person's decision: who must decide, what was decided, and the wait."""
