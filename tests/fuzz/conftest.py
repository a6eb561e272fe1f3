"""The readers know no database, but for the jobs that there are: once is enough."""

import os

collect_ignore_glob = ["test_*.py"] if os.environ.get("DATABASE_URL") else []
