"""The rows that a test with transactions of its own leaves behind."""

from __future__ import annotations

from django.contrib.auth.models import Permission
from django.contrib.contenttypes.models import ContentType
from django.db import connection, transaction

# A migration creates these, and no test changes them.
KEPT = {ContentType._meta.db_table, Permission._meta.db_table}


def delete_all_rows(_case: object = None) -> None:
    """Delete the rows of every table that has some.

    Django truncates every table, and then creates all content types and permissions again, however little a test wrote.
    """
    quote = connection.ops.quote_name
    tables = set(connection.introspection.django_table_names(only_existing=True, include_views=False)) - KEPT
    has_rows = " UNION ALL ".join(f"SELECT '{table}' WHERE EXISTS (SELECT 1 FROM {quote(table)})" for table in tables)
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(has_rows)
        for (table,) in cursor.fetchall():
            cursor.execute(f"DELETE FROM {quote(table)}")
