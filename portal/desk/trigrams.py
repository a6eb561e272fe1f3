"""Trigram indexes of PostgreSQL, by which lists of large tables find a fragment of a text.

They are made after each `migrate`, not by migrations: a database whose owner installs the extension later gets them
then, and other databases need none.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from django.contrib import admin
from django.core.cache import cache
from django.core.checks import CheckMessage, Tags, Warning, register
from django.db import DEFAULT_DB_ALIAS, DatabaseError, connections, transaction
from django.db.models import Model
from django.utils.translation import gettext as _

from portal.base.locks import held_in_database
from portal.base.lookups import FRAGMENT
from portal.operations import drop_invalid_index
from portal.status.doctor.registry import CheckResult, Group, Needs, doctor_check, passed, warning

# Whether the extension is installed, and whether this role may install it.
EXTENSION = """
    SELECT bool_or(installed), bool_or(rolsuper OR trusted AND has_database_privilege(current_database(), 'CREATE'))
    FROM pg_available_extension_versions, pg_roles WHERE name = 'pg_trgm' AND rolname = current_user
"""
INSTALL = "CREATE EXTENSION IF NOT EXISTS pg_trgm"
STATES = """
    SELECT name, indisvalid FROM unnest(%s::text[]) AS name
    LEFT JOIN pg_index ON indexrelid = to_regclass(quote_ident(name))
"""
# How long the answer whether the database has all indexes is kept: each search needs it.
FRESH_SECONDS = 60


def trigram_indexes() -> dict[str, tuple[str, str]]:
    """Return the table and column of each index by its name: the columns that lists of large tables search."""
    found: dict[str, tuple[str, str]] = {}
    for model, model_admin in admin.site._registry.items():
        if getattr(model_admin, "is_large", False):
            names = [name.removesuffix(FRAGMENT) for name in model_admin.search_fields if name.endswith(FRAGMENT)]
            table = model._meta.db_table
            found |= {f"{table}_{name}_trigram": (table, name) for name in names}
    return found


def create_trigram_indexes(using: str = DEFAULT_DB_ALIAS, **signal: Any) -> None:
    """Create the extension where the role may, and the indexes that are missing or that an earlier run left invalid.

    Concurrently, outside of any transaction: portals that run meanwhile go on writing to these tables. The lock lets a
    second `migrate` tell an index in the making from one that will never be finished.
    """
    connection = connections[using]
    if connection.vendor != "postgresql" or not has_extension(using) or all(index_states(using).values()):
        return
    quote, columns = connection.ops.quote_name, trigram_indexes()
    with held_in_database("trigrams", using), connection.schema_editor(atomic=False) as editor:
        for name, is_valid in index_states(using).items():
            if not is_valid:
                table, column = map(quote, columns[name])
                drop_invalid_index(editor, name)
                made = f"CREATE INDEX CONCURRENTLY {quote(name)} ON {table} USING gin ({column} gin_trgm_ops)"
                editor.execute(made, params=None)
    cache.delete(cache_key(using))


def index_states(using: str) -> dict[str, bool | None]:
    """Return whether each index is valid, by its name; None for one that does not exist."""
    with connections[using].cursor() as cursor:
        cursor.execute(STATES, [list(trigram_indexes())])
        return dict(cursor.fetchall())


def has_extension(using: str) -> bool:
    """Return whether the database has the extension, now at the latest."""
    is_installed, may_install = extension_state(using)
    if is_installed or not may_install:
        return is_installed
    try:
        with transaction.atomic(using), connections[using].cursor() as cursor:
            cursor.execute(INSTALL)
    except DatabaseError:  # refused, or another `migrate` installs it right now
        return extension_state(using)[0]
    return True


def extension_state(using: str) -> tuple[bool, bool]:
    with connections[using].cursor() as cursor:
        cursor.execute(EXTENSION)
        is_installed, may_install = cursor.fetchone() or (False, False)
    return bool(is_installed), bool(may_install)


def has_trigram_indexes(using: str = DEFAULT_DB_ALIAS) -> bool:
    """Return whether the database has every trigram index, valid. The answer is a minute old at most."""
    if connections[using].vendor != "postgresql":
        return False
    return bool(cache.get_or_set(cache_key(using), lambda: all(index_states(using).values()), FRESH_SECONDS))


def cache_key(using: str) -> str:
    return f"desk.trigrams.{using}"


def is_indexed(model: type[Model]) -> bool:
    """Return whether trigram indexes find all rows of the model by the columns that its list searches."""
    return bool(getattr(admin.site._registry.get(model), "is_large", False)) and has_trigram_indexes()


@register(Tags.database)
def check_trigram_extension(databases: Sequence[str] | None = None, **options: Any) -> list[CheckMessage]:
    """Warn of a PostgreSQL without the extension in which `migrate` cannot install it either."""
    using = DEFAULT_DB_ALIAS
    if using not in (databases or ()) or connections[using].vendor != "postgresql" or any(extension_state(using)):
        return []
    return [
        Warning(
            _("Searches of large lists read only their newest rows: PostgreSQL’s extension pg_trgm is missing."),
            hint=_(
                "Install it (Debian: postgresql-contrib), run “CREATE EXTENSION pg_trgm” in the portal’s database "
                "as its owner or a superuser, then “manage.py migrate”."
            ),
            id="vigie.W003",
        )
    ]


@doctor_check("search", Group.DATABASE, needs=Needs.TABLES)
def check_search() -> Iterator[CheckResult]:
    """Check whether lists of large tables are searched as a whole."""
    if connections[DEFAULT_DB_ALIAS].vendor != "postgresql":
        yield passed(_("Searches of large lists read their newest rows: SQLite has no trigram indexes."))
        return
    for message in check_trigram_extension([DEFAULT_DB_ALIAS]):
        yield warning(str(message.msg), str(message.hint))
        return
    missing = [name for name, is_valid in index_states(DEFAULT_DB_ALIAS).items() if not is_valid]
    if missing:
        text = _("Searches of large lists read only their newest rows: the index %(name)s is missing or invalid.")
        yield warning(text % {"name": missing[0]}, _("Run “manage.py migrate”."))
    else:
        yield passed(_("Trigram indexes find every row"))
