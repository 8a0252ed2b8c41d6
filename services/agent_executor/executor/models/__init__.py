"""Language models: the port, the known models, and the providers."""
