"""Recognize the engine, version and format of a dump from its first bytes."""

from __future__ import annotations

import re
from dataclasses import dataclass

from vigie_client.contract import CUSTOM_ARCHIVE, DUMP_HEAD_BYTES, TAR_MAGIC, TAR_MAGIC_AT

from backups.drills.outcomes import MARIADB, MYSQL, POSTGRESQL, SQLITE

HEAD_BYTES = DUMP_HEAD_BYTES
MAX_VERSION = 32
PLAIN, CUSTOM, TAR, CLUSTER = "plain", "custom", "tar", "cluster"


@dataclass(frozen=True)
class DumpKind:
    """Engine (empty if unknown), version of the server that was dumped (may be empty), and format of a dump."""

    engine: str
    version: str = ""
    format: str = PLAIN


_BEGINNINGS = (
    (SQLITE, re.compile(rb"\s*(?:PRAGMA foreign_keys=OFF;\s*)?BEGIN TRANSACTION;")),
    (
        MARIADB,
        re.compile(rb"(?s).{0,1024}?^-- MariaDB dump |.{0,4096}?@OLD_NOTE_VERBOSITY=@@NOTE_VERBOSITY", re.MULTILINE),
    ),
    (MYSQL, re.compile(rb"(?s).{0,1024}?^-- MySQL dump |.{0,4096}?@OLD_SQL_NOTES=@@SQL_NOTES", re.MULTILINE)),
    (
        POSTGRESQL,
        re.compile(
            rb"(?s).{0,4096}?(?:^-- PostgreSQL database (?:cluster )?dump$"
            rb"|^SET statement_timeout = 0;|^SELECT pg_catalog\.set_config\(|^\\restrict )",
            re.MULTILINE,
        ),
    ),
)
_CLUSTER = re.compile(rb"^-- PostgreSQL database cluster dump\r?$", re.MULTILINE)
_VERSIONS = {
    POSTGRESQL: re.compile(rb"^-- Dumped from database version ([0-9]+(?:\.[0-9]+)*)", re.MULTILINE),
    MYSQL: re.compile(rb"^-- Server version\s+([0-9]+(?:\.[0-9]+)*)", re.MULTILINE),
    MARIADB: re.compile(rb"^-- Server version\s+(?:5\.5\.5-)?([0-9]+(?:\.[0-9]+)*)", re.MULTILINE),
}


def recognize(head: bytes) -> DumpKind:
    """Return what the first HEAD_BYTES of an unpacked dump say about it."""
    if head.startswith(CUSTOM_ARCHIVE):
        return DumpKind(POSTGRESQL, format=CUSTOM)
    if head[TAR_MAGIC_AT:].startswith(TAR_MAGIC):
        return DumpKind(POSTGRESQL, format=TAR) if head.startswith(b"toc.dat\0") else DumpKind("", format=TAR)
    text = head.removeprefix(b"\xef\xbb\xbf").replace(b"\r\n", b"\n")
    engine = next((engine for engine, beginning in _BEGINNINGS if beginning.match(text)), "")
    if engine == MYSQL and re.search(rb"^-- Server version\s+\S*MariaDB", text, re.MULTILINE):
        engine = MARIADB
    found = _VERSIONS[engine].search(text) if engine in _VERSIONS else None
    version = found[1].decode("ascii")[:MAX_VERSION] if found else ""
    return DumpKind(engine, version, CLUSTER if engine == POSTGRESQL and _CLUSTER.search(text) else PLAIN)
