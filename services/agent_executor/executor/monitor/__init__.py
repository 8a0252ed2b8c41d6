"""Telling what happens in an organization's runs, as it happens."""
