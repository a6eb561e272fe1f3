"""Figures of targets: rollups of checks, and the uptime and percentiles read from them."""
