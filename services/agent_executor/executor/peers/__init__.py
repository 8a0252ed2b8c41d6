"""The other services, as the executor sees them."""
