"""Programmes: whether the product is ready, and why."""
