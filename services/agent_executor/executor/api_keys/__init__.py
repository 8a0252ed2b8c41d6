"""API keys of programs and sessions of browsers, and the short tokens they are exchanged for."""
