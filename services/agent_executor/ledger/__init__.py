"""Service 3: what model calls cost, what was used, and the limits on it."""
