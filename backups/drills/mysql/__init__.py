"""Restore dumps of MySQL and MariaDB on a server of either: `sandbox` runs the script in databases of its own.

`server` makes and drops these, `statements` recognizes what a statement does, and `errors` describes what failed.
"""
