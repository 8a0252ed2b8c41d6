"""Questions about what was recorded: entries, sums, runs, exports."""
