"""Process plumbing that every service's bootstrap calls, and nothing else."""
