"""External MCP servers, whose tools organizations use like any other."""
