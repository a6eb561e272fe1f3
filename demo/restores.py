"""Dumps that arrive intact, and what only a restore drill shows about them.

PostgreSQL's dumps are restored where its server is installed, and so are those of MariaDB: the demo starts a server for
them unless DRILL_MYSQL_URL names one.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from datetime import datetime
from pathlib import Path

from vigie_client import Dump

from demo import mariadb
from demo.keepers import NotStarted

SAMPLES = Path(__file__).parent / "dumps"
BREST = "SRV-BREST-DB"
NAMES = ("caisse", "boutique", "commandes", "site")
# What pg_dump and mariadb-dump write differently each time.
CHANGING = re.compile(r"^(\\(?:un)?restrict|-- Dump completed on) .*$", re.MULTILINE)
# Rows of the till and its payments, yesterday and today: the dump stays as large.
TILL = ((3_000, 2_000), (3_900, 150))
COUNT_INVOICES = "SELECT count(*) FROM invoice"


@contextmanager
def sandbox_settings(data: Path, given: Mapping[str, str]) -> Iterator[dict[str, str]]:
    """Yield the settings of a MariaDB server that ends with the block. Without its programs there are none."""
    with ExitStack() as stack:
        found = {}
        if mariadb.is_installed() and not {"DRILL_MYSQL_URL", "DRILL_MYSQL_URL_FILE"} & given.keys():
            try:
                found["DRILL_MYSQL_URL"] = stack.enter_context(mariadb.temporary_mariadb(data / "mariadb"))
            except NotStarted as error:
                sys.stderr.write(f"{error}\n")
        yield found


def write_sample(folder: Path, name: str, engine: str, at: datetime, *, is_corrupted: bool = False) -> Dump:
    """Write the dump of a database as of a time. In a corrupted one a row lacks a column, as after a bad disk."""
    text = CHANGING.sub(rf"\1 {at:%Y%m%d}", (SAMPLES / f"{engine}.sql").read_text(encoding="utf-8"))
    if is_corrupted:
        text = re.sub(r"^(75\t\d+)\t\w+", r"\1", text, count=1, flags=re.MULTILINE)
    path = folder / f"{name}.sql"
    path.write_text(text, encoding="utf-8")
    return Dump(name, file=path)


def write_samples(folder: Path, at: datetime, *, is_today: bool) -> list[Dump]:
    return [
        write_sample(folder, "boutique", "postgresql", at),
        write_sample(folder, "commandes", "postgresql", at, is_corrupted=is_today),
        write_sample(folder, "site", "mariadb", at),
    ]


def assertions(paris: str, lille: str) -> Iterator[tuple[str, ...]]:
    """Yield arguments of `past_backups.add_assertion`: one that holds, and one that is false."""
    yield paris, "facturation", "Enough invoices", COUNT_INVOICES, "at_least", "2000"
    yield lille, "catalogue", "Complete catalogue", COUNT_INVOICES, "at_least", "50000"
