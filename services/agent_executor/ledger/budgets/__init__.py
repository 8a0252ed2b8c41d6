"""Limits on spending, over gRPC."""
