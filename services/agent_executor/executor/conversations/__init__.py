"""Conversations: runs that continue one another."""
