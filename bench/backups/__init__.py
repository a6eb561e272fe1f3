"""Benchmarks of backups: scans, and restore drills."""
