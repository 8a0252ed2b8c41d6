"""Telling callers of a run while it goes on."""
