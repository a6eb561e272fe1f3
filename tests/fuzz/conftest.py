"""Fixtures of the fuzz tests: parsers need no database except for the existing jobs, so one check is enough."""

import os

collect_ignore_glob = ["test_*.py"] if os.environ.get("DATABASE_URL") else []
