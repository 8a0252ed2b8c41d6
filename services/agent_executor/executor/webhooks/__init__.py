"""Tells a URL of a run's end: signed, at least once, tried again for a day."""
