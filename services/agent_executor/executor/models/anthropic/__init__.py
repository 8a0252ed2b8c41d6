"""Claude over the Messages API, by the provider's own SDK."""
