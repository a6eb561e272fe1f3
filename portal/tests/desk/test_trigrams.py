"""Trigram indexes are made where PostgreSQL has the extension, and their absence is reported where it has not."""

from types import SimpleNamespace

import pytest
from django.core.cache import cache
from django.core.checks import run_checks
from django.db import connection

from portal.desk import trigrams
from portal.desk.trigrams import create_trigram_indexes, has_trigram_indexes, trigram_indexes

pytestmark = pytest.mark.django_db
LONGEST_NAME = 63  # PostgreSQL cuts a longer one


def warnings():
    return [message.id for message in run_checks(databases=["default"]) if message.id == "vigie.W003"]


def test_every_searched_column_of_a_large_table_has_an_index_of_its_own():
    names = trigram_indexes()
    assert names["agents_agent_hostname_trigram"] == ("agents_agent", "hostname")
    assert {table for table, _column in names.values()} >= {"agents_agent", "usage_licence", "portal_apitoken"}
    assert max(len(name) for name in names) <= LONGEST_NAME


def test_indexes_exist_exactly_where_the_extension_does():
    create_trigram_indexes()
    if connection.vendor != "postgresql":
        assert not has_trigram_indexes()
        return
    assert has_trigram_indexes() == trigrams.extension_state("default")[0]


@pytest.mark.parametrize(
    ("state", "found"), [((False, False), ["vigie.W003"]), ((False, True), []), ((True, False), [])]
)
def test_check_warns_only_where_migrate_cannot_install_the_extension(monkeypatch, state, found):
    monkeypatch.setattr(trigrams, "extension_state", lambda using: state)
    assert warnings() == (found if connection.vendor == "postgresql" else [])


@pytest.mark.postgresql("its extensions")
@pytest.mark.parametrize("statement", ["SELECT 1", "SELECT nothing FROM nowhere"])
def test_migration_goes_on_if_the_extension_is_refused(monkeypatch, statement):
    monkeypatch.setattr(trigrams, "extension_state", lambda using: (False, True))
    monkeypatch.setattr(trigrams, "INSTALL", statement)
    assert trigrams.has_extension("default") == (statement == "SELECT 1")


def test_missing_index_is_asked_for_once_a_minute(monkeypatch):
    asked = []
    monkeypatch.setattr(trigrams, "connections", {"default": SimpleNamespace(vendor="postgresql")})
    monkeypatch.setattr(trigrams, "index_states", lambda using: asked.append(using) or {"x": None})
    cache.clear()
    assert [has_trigram_indexes(), has_trigram_indexes()] == [False, False]
    assert asked == ["default"]
    cache.clear()
