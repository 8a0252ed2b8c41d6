"""The kernel sandbox for custom tools: a launcher, its single-use workers, and their pool."""
