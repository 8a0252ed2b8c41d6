"""Mock Claude over HTTP: two APIs, offline, with faults on demand."""
