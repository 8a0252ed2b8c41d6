"""How the same work could cost less, computed from what was recorded."""
