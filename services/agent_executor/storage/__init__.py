"""Durable storage under every service's stores: group commit, SQLite and migrations."""
