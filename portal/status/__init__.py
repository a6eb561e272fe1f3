"""The portal's own health and its Prometheus metrics."""
