"""A run as the log of its events: what they are, what they come to, and what is to be done next."""
