"""Model calls that go through batches of their provider, and the runs that wait for them."""
