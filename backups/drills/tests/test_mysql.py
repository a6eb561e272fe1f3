"""Restore what mariadb-dump writes, with each of its options that change the script."""

from __future__ import annotations

import gzip
import subprocess
from collections.abc import Callable, Iterator
from contextlib import closing
from itertools import product
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
import zstandard

from backups.drills.assertions import Assertion
from backups.drills.mysql import server
from backups.drills.outcomes import FAILED, PROVEN, UNSUPPORTED, Outcome
from backups.drills.tests.mysql_factories import ask, leftovers
from backups.drills.tests.mysql_schemas import FURTHER, SCHEMAS

pytestmark = [pytest.mark.slow, pytest.mark.one_database("drills have a server of their own")]
EVERY = SCHEMAS | FURTHER
ALL = ["--routines", "--triggers", "--events"]
# Options of one database's dump, with schemas that they matter for.
OPTIONS = {
    "routines": ["--routines"],
    "everything": ALL,
    "rows of their own": ["--skip-extended-insert", *ALL],
    "no comments": ["--skip-comments", *ALL],
    "complete": ["--complete-insert", "--hex-blob", "--order-by-primary", "--tz-utc", *ALL],
    "transaction": ["--single-transaction", "--quick", "--no-autocommit", *ALL],
    "compatible": ["--skip-opt", "--create-options", "--default-character-set=utf8mb4", *ALL],
    "replace": ["--replace", "--skip-add-locks", "--skip-disable-keys", *ALL],
    "database": ["--databases", *ALL],
}


@pytest.fixture(scope="module")
def source(mariadb: str) -> Iterator[Callable[..., bytes]]:
    """Return a function that dumps the source's databases, one for each schema."""
    socket = f"--socket={parse_qs(urlsplit(mariadb).query)['unix_socket'][0]}"
    for name, script in EVERY.items():
        ask(mariadb, f"CREATE DATABASE {name} CHARACTER SET utf8mb4")
        subprocess.run(
            ["mariadb", "--no-defaults", "--default-character-set=utf8mb4", socket, "-uroot", name],
            input=script.encode(),
            check=True,
        )

    def dump(*arguments: str) -> bytes:
        command = ["mariadb-dump", "--no-defaults", socket, "-uroot", *arguments]
        return subprocess.run(command, check=True, capture_output=True).stdout

    yield dump
    for name in EVERY:
        ask(mariadb, f"DROP DATABASE {name}")


@pytest.fixture
def restored(restore_here: Callable[..., Outcome], mariadb: str) -> Callable[..., Outcome]:
    return lambda dump, *given, **options: restore_here(dump, *given, mysql_url=mariadb, **options)


def count_rows(url: str, database: str, prefix: str = "") -> dict[str, int]:
    with closing(server.connect(server.parse_url(url), database=database)) as admin:
        tables = server.fetch(admin, "SHOW FULL TABLES WHERE Table_type IN ('BASE TABLE', 'SYSTEM VERSIONED')")
        counts = {
            name: server.fetch(admin, f"SELECT COUNT(*) FROM {server.quote(name)}")[0][0] for name, _type in tables
        }
    return {f"{prefix}{name}": count for name, count in counts.items()}


@pytest.mark.parametrize(("options", "schema"), [*product(OPTIONS, SCHEMAS), *product(["everything"], FURTHER)])
def test_dump_is_restored_with_all_its_rows(
    restored: Any, source: Any, mariadb: str, options: str, schema: str
) -> None:
    outcome = restored(source(*OPTIONS[options], schema))
    assert (outcome.status, outcome.errors, outcome.warnings) == (PROVEN, [], [])
    assert outcome.rows == count_rows(mariadb, schema, f"{schema}." if "--databases" in OPTIONS[options] else "")
    assert outcome.size > 0
    assert leftovers(mariadb) == []


def test_dump_of_databases_names_them(restored: Any, source: Any, mariadb: str) -> None:
    queries = ["SELECT COUNT(*) FROM wordpress.wp_posts", "SELECT COUNT(*) FROM `sakila`.`film_list`"]
    outcome = restored(
        source("--databases", "sakila", "wordpress", *ALL), *(Assertion(q, q, "equal", "0") for q in queries)
    )
    assert (outcome.status, outcome.errors, outcome.warnings) == (PROVEN, [], [])
    assert outcome.rows == count_rows(mariadb, "sakila", "sakila.") | count_rows(mariadb, "wordpress", "wordpress.")
    assert [assertion["value"] for assertion in outcome.assertions] == [700, 300]


@pytest.mark.parametrize("system", [[], ["--system=all"]], ids=["default", "system"])
def test_databases_of_the_server_itself_are_left_out(
    restored: Any, source: Any, mariadb: str, system: list[str]
) -> None:
    outcome = restored(source("--all-databases", *system, *ALL))
    assert (outcome.status, outcome.errors) == (PROVEN, [])
    assert {found["code"] for found in outcome.warnings} == {"server_left_out"} | (
        {"users_left_out"} if system else set()
    )
    expected = [count_rows(mariadb, schema, f"{schema}.") for schema in EVERY]
    assert outcome.rows == {name: count for counts in expected for name, count in counts.items()}


def test_view_whose_function_was_not_dumped_is_an_error(restored: Any, source: Any) -> None:
    outcome = restored(source("sakila"))
    assert outcome.status == FAILED
    assert [found["message"] for found in outcome.errors] == ["CREATE: FUNCTION film_income does not exist"]


def test_xml_has_no_sandbox(restored: Any, source: Any) -> None:
    assert restored(source("--xml", "sakila"), name="dump.xml").status == UNSUPPORTED


@pytest.mark.parametrize(
    ("name", "pack"), [("dump.sql.gz", gzip.compress), ("dump.sql.zst", zstandard.ZstdCompressor().compress)]
)
def test_packed_dump_is_restored(restored: Any, source: Any, name: str, pack: Callable[[bytes], bytes]) -> None:
    assert restored(pack(source("features")), name=name).status == PROVEN


def test_truncated_dump_is_failed(restored: Any, source: Any) -> None:
    dump = source("sakila")
    outcome = restored(dump[: len(dump) // 2])
    assert outcome.status == FAILED
    assert "incomplete" in outcome.doubts


def test_schema_restores_without_rows(restored: Any, source: Any, mariadb: str) -> None:
    kind = {"engine": "mariadb", "version": "", "format": "plain"}
    for schema in EVERY:
        outcome = restored(source(*ALL, schema))
        again = restored(outcome.schema.encode(), Assertion("", "SELECT 1", "equal", "1"), kind=kind)
        assert again.errors == []
        assert again.rows == dict.fromkeys(count_rows(mariadb, schema), 0)
        assert again.schema == outcome.schema
        assert "INSERT INTO `" not in outcome.schema


@pytest.mark.parametrize(
    "statement",
    ["CREATE TABLE b (c text COLLATE utf8mb4_0900_ai_ci);", "SET SESSION sql_require_primary_key = 0;"],
)
def test_dump_of_another_product_is_unsupported(restored: Any, statement: str) -> None:
    head = "-- MySQL dump 10.13  Distrib 8.0.36, for Linux (x86_64)\n-- Server version\t8.0.36\n"
    outcome = restored(f"{head}{statement}\n-- Dump completed on 2026-11-20\n".encode())
    assert outcome.status == UNSUPPORTED
    (warning,) = outcome.warnings
    assert (warning["code"], warning["dumped"]) == ("sandbox_differs", "MySQL 8.0.36")
    assert warning["sandbox"].startswith("MariaDB 10.")
    assert warning["message"].split(": ")[1] in (
        "Unknown collation",
        "Unknown system variable 'sql_require_primary_key'",
    )


MYSQLDUMP_8 = """-- MySQL dump 10.13  Distrib 8.0.36, for Linux (x86_64)
--
-- Host: localhost    Database: shop
-- ------------------------------------------------------
-- Server version\t8.0.36-0ubuntu0.22.04.1

/*!40101 SET @OLD_CHARACTER_SET_CLIENT=@@CHARACTER_SET_CLIENT */;
/*!50503 SET NAMES utf8mb4 */;
/*!40014 SET @OLD_FOREIGN_KEY_CHECKS=@@FOREIGN_KEY_CHECKS, FOREIGN_KEY_CHECKS=0 */;
SET @MYSQLDUMP_TEMP_LOG_BIN = @@SESSION.SQL_LOG_BIN;
SET @@SESSION.SQL_LOG_BIN= 0;
SET @@GLOBAL.GTID_PURGED=/*!80000 '+'*/ '3e11fa47-71ca-11e1-9e33-c80aa9429562:1-77';
"""
# What programs write before and after the tables, and how the dump is told.
WRITTEN_BY = {
    "mysqldump 8.0": (MYSQLDUMP_8, "SET @@SESSION.SQL_LOG_BIN = @MYSQLDUMP_TEMP_LOG_BIN;\n", ("mysql", "8.0.36")),
    "mysqldump 5.7": (
        "-- MySQL dump 10.13  Distrib 5.7.44\n-- Server version\t5.7.44-log\n"
        "/*!40101 SET @OLD_CHARACTER_SET_CLIENT=@@CHARACTER_SET_CLIENT */;\n/*!40101 SET NAMES utf8 */;\n"
        "/*!40111 SET @OLD_SQL_NOTES=@@SQL_NOTES, SQL_NOTES=0 */;\n",
        "/*!40111 SET SQL_NOTES=@OLD_SQL_NOTES */;\n",
        ("mysql", "5.7.44"),
    ),
    "mysqldump of MariaDB 10.1": (
        "-- MySQL dump 10.16  Distrib 10.1.48-MariaDB\n-- Server version\t10.1.48-MariaDB\n/*!40101 SET NAMES utf8 */;\n",
        "",
        ("mariadb", "10.1.48"),
    ),
    "mariadb-dump 11.4": (
        "/*M!999999\\- enable the sandbox mode */ \n-- MariaDB dump 10.19-11.4.2-MariaDB\n-- Server version\t11.4.2-MariaDB\n"
        "/*!100616 SET @OLD_NOTE_VERBOSITY=@@NOTE_VERBOSITY, NOTE_VERBOSITY=0 */;\n",
        "/*!100616 SET NOTE_VERBOSITY=@OLD_NOTE_VERBOSITY */;\n",
        ("mariadb", "11.4.2"),
    ),
}


@pytest.mark.parametrize("program", WRITTEN_BY)
def test_dump_of_another_version_is_proven(restored: Any, program: str) -> None:
    head, end, kind = WRITTEN_BY[program]
    table = (
        "DROP TABLE IF EXISTS `a`;\n/*!50503 SET character_set_client = utf8mb4 */;\n"
        "CREATE TABLE `a` (`id` int NOT NULL, `name` varchar(9) DEFAULT NULL, PRIMARY KEY (`id`)) ENGINE=InnoDB"
        " DEFAULT CHARSET=utf8mb4;\nLOCK TABLES `a` WRITE;\n/*!40000 ALTER TABLE `a` DISABLE KEYS */;\n"
        "INSERT INTO `a` VALUES (1,'Zoë'),(2,NULL);\n/*!40000 ALTER TABLE `a` ENABLE KEYS */;\nUNLOCK TABLES;\n"
    )
    outcome = restored(f"{head}{table}{end}-- Dump completed on 2026-11-20 13:04:00\n".encode())
    assert (outcome.status, outcome.errors) == (PROVEN, [])
    assert (outcome.engine, outcome.version, outcome.rows) == (*kind, {"a": 2})
