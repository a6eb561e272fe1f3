"""Checks: due targets are claimed, probed and recorded in rounds, by workers and in a terminal."""
