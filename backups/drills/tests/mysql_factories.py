"""Dumps of MySQL for the tests, and what a server of MariaDB holds."""

from __future__ import annotations

from contextlib import closing
from typing import Any

from backups.drills.mysql import server

HEAD = b"-- MariaDB dump 10.19  Distrib 10.11.6-MariaDB\n--\n-- Server version\t10.11.6-MariaDB\n\n"
END = b"\n-- Dump completed on 2026-11-20 13:04:00\n"
TABLE = b"CREATE TABLE `a` (`id` int PRIMARY KEY, `name` text);\nINSERT INTO `a` VALUES (1,'Anna'),(2,'B;\\'ert');\n"


def make_dump(statements: bytes) -> bytes:
    return HEAD + statements + END


def ask(url: str, sql: str) -> list[tuple[Any, ...]]:
    """Return what the administrator of the server sees."""
    with closing(server.connect(server.parse_url(url))) as admin:
        return server.fetch(admin, sql)


def leftovers(url: str) -> list[str]:
    found = ask(
        url,
        "SELECT SCHEMA_NAME FROM information_schema.SCHEMATA WHERE SCHEMA_NAME LIKE 'vigie\\_drill%'"
        " UNION ALL SELECT USER FROM mysql.user WHERE USER LIKE 'vigie\\_drill%'",
    )
    return [name for (name,) in found]


def count_sessions(url: str) -> int:
    """Return how many sessions others have on the server."""
    return len(ask(url, "SELECT 1 FROM information_schema.PROCESSLIST WHERE ID <> CONNECTION_ID()"))
