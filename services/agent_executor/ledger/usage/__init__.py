"""Holding money before a model call and recording usage after it, over gRPC."""
