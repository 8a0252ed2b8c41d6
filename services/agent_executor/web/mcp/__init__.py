"""Agents as tools of the Model Context Protocol: `/mcp`."""
