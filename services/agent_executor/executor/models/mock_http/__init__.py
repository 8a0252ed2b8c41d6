"""Mock Claude over HTTP: the Messages API, offline, with faults on demand."""
