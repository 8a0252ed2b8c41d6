"""The web console, which works without a network: `/console`."""
