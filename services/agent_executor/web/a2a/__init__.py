"""Agents over the Agent2Agent protocol, their runs as its tasks: `/a2a`."""
