"""Restore dumps of PostgreSQL into databases of their own: `sandbox` runs the script as a role that may do little.

`roles` makes and drops the role and its databases, `sizes` measures them, and `session` is a connection for statements.
`statements` decides what becomes of each, and describes what failed. `cluster` runs a private server, `amcheck` checks
what was restored on one, and `archives` turns the archives of pg_dump into SQL.
"""
