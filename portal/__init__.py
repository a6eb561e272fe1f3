"""Vigie, a self-hosted portal for small software publishers."""

__version__ = "0.2.0"
