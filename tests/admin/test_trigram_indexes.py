"""Trigram indexes on Debian's PostgreSQL: made beside running writes, repaired, and used by each searched list."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
import pytest
from django.apps import apps
from django.contrib import admin
from django.core.cache import cache
from django.core.management import call_command
from django.db import connection, connections
from django.db.utils import ConnectionHandler
from django.test import override_settings

from portal.desk import trigrams
from portal.desk.matching import Search
from portal.desk.trigrams import (
    check_trigram_extension,
    create_trigram_indexes,
    has_trigram_indexes,
    index_states,
    trigram_indexes,
)
from portal.tests.helpers.programs import require
from portal.tests.helpers.waiting import PATIENCE, wait_for
from tests.postgres import debian_binaries, temporary_postgres

pytestmark = pytest.mark.slow
LARGE = [model for model, model_admin in admin.site._registry.items() if getattr(model_admin, "is_large", False)]
INDEX = "agents_agent_hostname_trigram"
IS_BUILDING = "SELECT count(*) FROM pg_stat_progress_create_index"


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    """Start Debian's PostgreSQL. Without one a test is skipped, but fails in CI, which must install it."""
    require(debian_binaries(), "PostgreSQL", "postgresql")
    with temporary_postgres(is_durable=False, is_debian=True) as url:
        yield url


@contextmanager
def default_database(url: str, **settings: str) -> Iterator[None]:
    """Let this thread use a database of the server as the portal's own."""
    before, host = connections["default"], url.rpartition("host=")[2]
    given = {"ENGINE": "django.db.backends.postgresql", "NAME": "vigie", "USER": "postgres", "HOST": host} | settings
    connections["default"] = ConnectionHandler({"default": given})["default"]
    cache.clear()
    try:
        yield
    finally:
        connections["default"].close()
        connections["default"] = before
        cache.clear()


@pytest.fixture(scope="module")
def migrated(server: str, django_db_blocker: Any) -> Iterator[str]:
    with psycopg.connect(server, autocommit=True) as database:
        database.execute("CREATE DATABASE vigie")
    tables_as_they_are = {app.label: None for app in apps.get_app_configs()}  # quicker than each migration
    with django_db_blocker.unblock(), default_database(server):
        with override_settings(MIGRATION_MODULES=tables_as_they_are):
            call_command("migrate", run_syncdb=True, verbosity=0)
        yield server


@pytest.fixture
def database(migrated: str) -> Iterator[Any]:
    """Connect to the portal's database, beside the portal."""
    with psycopg.connect(migrated.replace("/postgres?", "/vigie?"), autocommit=True) as beside:
        yield beside


def start(url: str, work: Callable[[], object], errors: list[BaseException]) -> threading.Thread:
    """Do work in a thread, with a connection of its own."""

    def run() -> None:
        try:
            with default_database(url):
                work()
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    return thread


def test_migrate_makes_every_index(migrated):
    assert set(index_states("default").values()) == {True}
    assert has_trigram_indexes()


@pytest.mark.parametrize("text", ["lyon", "pc", "a-b"])
@pytest.mark.parametrize("model", LARGE, ids=lambda model: model._meta.label)
def test_search_of_a_large_list_reads_only_its_indexes(migrated, model, text):
    found = model._default_manager.filter(Search(text).matches(model, admin.site._registry[model].search_fields))
    with connection.cursor() as cursor:
        for way in ("seqscan", "indexscan", "indexonlyscan"):  # the tables are empty; a GIN index has bitmap scans only
            cursor.execute(f"SET enable_{way} = off")
        try:
            plan = found.order_by().explain()
        finally:
            cursor.execute("RESET ALL")
    own = [name for name, (table, _column) in trigram_indexes().items() if table == model._meta.db_table]
    assert own
    assert [name for name in own if f"Bitmap Index Scan on {name}" not in plan] == [], plan


def test_index_that_an_interrupted_run_left_invalid_is_rebuilt(database):
    database.execute(f"UPDATE pg_index SET indisvalid = false WHERE indexrelid = '{INDEX}'::regclass")
    cache.clear()
    assert not has_trigram_indexes()
    create_trigram_indexes()
    assert index_states("default")[INDEX]
    assert has_trigram_indexes()


def test_writes_go_on_while_two_migrations_make_an_index(migrated, database):
    database.execute(f"DROP INDEX {INDEX}")
    errors: list[BaseException] = []
    with psycopg.connect(migrated.replace("/postgres?", "/vigie?")) as writer:
        writer.execute("UPDATE agents_agent SET hostname = ''")  # the index waits for the end of this transaction
        threads = [start(migrated, create_trigram_indexes, errors)]
        wait_for("the index is being made", lambda: database.execute(IS_BUILDING).fetchone()[0])
        threads.append(start(migrated, create_trigram_indexes, errors))
        database.execute("SET lock_timeout = '1s'")
        database.execute("UPDATE agents_agent SET hostname = ''")
    for thread in threads:
        thread.join(PATIENCE)
    assert (errors, [thread.is_alive() for thread in threads]) == ([], [False, False])
    assert set(index_states("default").values()) == {True}


@pytest.mark.parametrize(("user", "found"), [("guest", ["vigie.W003"]), ("postgres", [])])
def test_role_that_may_not_create_the_extension_is_warned(server, django_db_blocker, user, found):
    with psycopg.connect(server, autocommit=True) as database:
        database.execute(f"CREATE DATABASE bare_{user}")
        if user == "guest":
            database.execute("CREATE ROLE guest LOGIN")
    with django_db_blocker.unblock(), default_database(server, NAME=f"bare_{user}", USER=user):
        assert [message.id for message in check_trigram_extension(["default"])] == found
        assert trigrams.has_extension("default") == (user == "postgres")
