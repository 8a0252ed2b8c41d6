"""The documentation page, which works without a network: `/docs`."""
