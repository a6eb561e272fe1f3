"""The engine, version and format that the head of a dump tells."""

from __future__ import annotations

import pytest

from backups.drills.recognition import DumpKind, recognize

MARIADB_DUMP = "-- MariaDB dump 10.19  Distrib 10.11.19-MariaDB, for debian-linux-gnu (x86_64)\n--\n"
SET = "/*!40101 SET @OLD_CHARACTER_SET_CLIENT=@@CHARACTER_SET_CLIENT */;\n"
POSTGRESQL_DUMP = "--\n-- PostgreSQL database dump\n--\n\n"
CASES: dict[str, tuple[bytes | str, DumpKind]] = {
    "nothing": ("", DumpKind("")),
    "text": ("Dear reader,\n", DumpKind("")),
    "insert": ("INSERT INTO a VALUES (1);\n", DumpKind("")),
    "xml of mysqldump": ('<?xml version="1.0"?>\n<mysqldump>\n', DumpKind("")),
    "sqlite3 .dump": ("PRAGMA foreign_keys=OFF;\nBEGIN TRANSACTION;\n", DumpKind("sqlite")),
    "iterdump": ("BEGIN TRANSACTION;\nCREATE TABLE a (i);\n", DumpKind("sqlite")),
    "sqlite3 of Windows": ("PRAGMA foreign_keys=OFF;\r\nBEGIN TRANSACTION;\r\n", DumpKind("sqlite")),
    "mariadb-dump": (
        f"/*M!999999\\- enable the sandbox mode */ \n{MARIADB_DUMP}-- Server version\t10.11.19-MariaDB-0+deb12u1\n",
        DumpKind("mariadb", "10.11.19"),
    ),
    "mariadb-dump without the sandbox": (f"{MARIADB_DUMP}-- Server version\t11.4.2-MariaDB\n", DumpKind("mariadb", "11.4.2")),
    "mysqldump of MariaDB": (
        "-- MySQL dump 10.16  Distrib 10.1.48-MariaDB\n-- Server version\t5.5.5-10.1.48-MariaDB\n",
        DumpKind("mariadb", "10.1.48"),
    ),
    "mysqldump": (
        "-- MySQL dump 10.13  Distrib 8.0.36, for Linux (x86_64)\n--\n-- Host: localhost    Database: shop\n"
        "-- Server version\t8.0.36-0ubuntu0.22.04.1\n", DumpKind("mysql", "8.0.36"),
    ),
    "mysqldump with a mark of order": (
        b"\xef\xbb\xbf-- MySQL dump 10.13\r\n-- Server version\t5.7.44-log\r\n", DumpKind("mysql", "5.7.44"),
    ),
    "mariadb-dump without comments": (
        f"{SET}/*M!100616 SET @OLD_NOTE_VERBOSITY=@@NOTE_VERBOSITY, NOTE_VERBOSITY=0 */;\n", DumpKind("mariadb"),
    ),
    "mysqldump without comments": (f"{SET}/*!40111 SET @OLD_SQL_NOTES=@@SQL_NOTES, SQL_NOTES=0 */;\n", DumpKind("mysql")),
    "pg_dump": (
        f"{POSTGRESQL_DUMP}-- Dumped from database version 15.6 (Debian 15.6-0+deb12u1)\n", DumpKind("postgresql", "15.6"),
    ),
    "pg_dump with restrict": (
        f"{POSTGRESQL_DUMP}\\restrict abc\n\n-- Dumped from database version 17.6\n", DumpKind("postgresql", "17.6"),
    ),
    "pg_dump without comments": ("\n\nSET statement_timeout = 0;\nSET lock_timeout = 0;\n", DumpKind("postgresql")),
    "pg_dumpall": (
        "--\n-- PostgreSQL database cluster dump\n--\n\nSET default_transaction_read_only = off;\n",
        DumpKind("postgresql", format="cluster"),
    ),
    "custom archive": (b"PGDMP\x01\x0e\x00\x04\x08\x01", DumpKind("postgresql", format="custom")),
    "tar of pg_dump": (b"toc.dat".ljust(257, b"\0") + b"ustar  \0", DumpKind("postgresql", format="tar")),
    "another tar": (b"photos/".ljust(257, b"\0") + b"ustar  \0", DumpKind("", format="tar")),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_dump_is_recognized(name: str) -> None:
    head, kind = CASES[name]
    assert recognize(head if isinstance(head, bytes) else head.encode()) == kind
