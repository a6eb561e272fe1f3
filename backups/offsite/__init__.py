"""Off-site copies: each stored version of each database is also kept in the store of OFFSITE_URL.

A copy is counted once the store has shown that it has exactly the verified file. Killed anywhere, the next run finds
what the store has, and sends only what is missing.
"""
