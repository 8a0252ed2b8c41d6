"""Secrets of organizations, and how they are kept out of sight."""
