"""Which runs this executor drives, and how one is driven from step to step."""
