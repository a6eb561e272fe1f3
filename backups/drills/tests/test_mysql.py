"""Restore what mariadb-dump writes, with each of its options that change the script."""

from __future__ import annotations

import gzip
import subprocess
from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
import zstandard

from backups.drills.assertions import Assertion
from backups.drills.mysql import server
from backups.drills.outcomes import FAILED, PROVEN, UNSUPPORTED, Outcome
from backups.drills.tests.mysql_factories import ask, leftovers
from backups.drills.tests.mysql_schemas import SCHEMAS

pytestmark = [pytest.mark.slow, pytest.mark.one_database("drills have a server of their own")]
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
    for name, script in SCHEMAS.items():
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
    for name in SCHEMAS:
        ask(mariadb, f"DROP DATABASE {name}")


@pytest.fixture
def restored(restore: Callable[..., Outcome], mariadb: str) -> Callable[..., Outcome]:
    return lambda dump, *given, **options: restore(dump, *given, DRILL_MYSQL_URL=mariadb, **options)


def count_rows(url: str, database: str, prefix: str = "") -> dict[str, int]:
    with closing(server.connect(server.parse_url(url), database=database)) as admin:
        tables = server.fetch(admin, "SHOW FULL TABLES WHERE Table_type IN ('BASE TABLE', 'SYSTEM VERSIONED')")
        counts = {
            name: server.fetch(admin, f"SELECT COUNT(*) FROM {server.quote(name)}")[0][0] for name, _type in tables
        }
    return {f"{prefix}{name}": count for name, count in counts.items()}


@pytest.mark.parametrize("schema", SCHEMAS)
@pytest.mark.parametrize("options", OPTIONS)
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
    expected = [count_rows(mariadb, schema, f"{schema}.") for schema in SCHEMAS]
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
    for schema in SCHEMAS:
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
