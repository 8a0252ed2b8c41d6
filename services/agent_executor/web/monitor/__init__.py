"""What happens in an organization's runs, for browsers: a WebSocket."""
