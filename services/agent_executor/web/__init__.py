"""The web process: what neither Envoy nor gRPC speaks, as one stateless client of the services."""
