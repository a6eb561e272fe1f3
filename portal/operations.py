"""Operations of migrations."""

from typing import Any

from django.contrib.postgres import operations
from django.db.backends.base.schema import BaseDatabaseSchemaEditor
from django.db.migrations import AddIndex


class AddIndexConcurrently(AddIndex):
    """Adds an index while others write to the table. Its migration must have `atomic = False`, and nothing else in it.

    SQLite, which has one writer at a time, adds it as usual. On PostgreSQL an index that an interrupted run left
    invalid is made anew.
    """

    atomic = False

    def database_forwards(self, app_label: str, schema_editor: Any, from_state: Any, to_state: Any) -> None:
        drop_invalid_index(schema_editor, self.index.name)
        self.variant(schema_editor).database_forwards(app_label, schema_editor, from_state, to_state)

    def database_backwards(self, app_label: str, schema_editor: Any, from_state: Any, to_state: Any) -> None:
        self.variant(schema_editor).database_backwards(app_label, schema_editor, from_state, to_state)

    def variant(self, schema_editor: Any) -> AddIndex:
        has_it = schema_editor.connection.vendor == "postgresql"
        return (operations.AddIndexConcurrently if has_it else AddIndex)(self.model_name, self.index)


def drop_invalid_index(editor: BaseDatabaseSchemaEditor, name: str) -> None:
    """Drop the index that an interrupted CREATE INDEX CONCURRENTLY left: it takes writes and answers no query."""
    if editor.connection.vendor != "postgresql":
        return
    quoted = editor.quote_name(name)
    with editor.connection.cursor() as cursor:
        cursor.execute("SELECT FROM pg_index WHERE indexrelid = to_regclass(%s) AND NOT indisvalid", [quoted])
        is_invalid = cursor.fetchone() is not None
    if is_invalid:
        editor.execute(f"DROP INDEX CONCURRENTLY {quoted}", params=None)
