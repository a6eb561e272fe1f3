"""Migrations since the last release leave it working: it goes on serving while they run, and until it is restarted."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from django.conf import settings
from django.db import connection, migrations, models
from django.db.migrations.loader import MigrationLoader
from django.db.migrations.operations.base import Operation
from django.db.migrations.state import ProjectState
from django.db.models import NOT_PROVIDED

from portal.operations import AddIndexConcurrently
from tests.upgrade.former import list_former_migrations

# Operations that the rule refuses, and why they are safe all the same.
EXCEPTIONS = {
    ("backups.0012_offsite_copies", "CreateModel offsitecopy"): (
        "Its rows would keep the last release from deleting a backup, but none exists before OFFSITE_URL is set, a new "
        "setting that docs/upgrading.md asks to set once the last release is gone."
    ),
}
BUILDS = "writes wait until the index is built: add it by portal.operations.AddIndexConcurrently"
HARMLESS = (AddIndexConcurrently, migrations.AlterModelOptions, migrations.AlterModelManagers, migrations.RemoveIndex)
Column = Any  # a field, of whichever class


def find_danger(app: str, operation: Operation, before: ProjectState, after: ProjectState, new: set[str]) -> str:
    """Return what the last release would suffer from the operation, or nothing. `new` has the labels of new models."""
    match operation:
        case migrations.CreateModel():
            return find_references(
                app, [field for _, field in operation.fields], new | {f"{app}.{operation.name_lower}"}
            )
        case migrations.AddField(field=field):
            references = find_references(app, [field], new)
            return references or ("" if label_of(app, operation) in new else find_demands(field))
        case migrations.AlterField(name=name):
            label = label_of(app, operation)
            old, now = (state.models[app, operation.model_name_lower].fields[name] for state in (before, after))
            return "" if label in new else find_narrowing(old, now)
        case migrations.AddIndex() if not isinstance(operation, AddIndexConcurrently):
            return "" if label_of(app, operation) in new else BUILDS
        case migrations.RemoveField() | migrations.RenameField() if label_of(app, operation) in new:
            return ""
        case migrations.AddConstraint():
            return "" if label_of(app, operation) in new else "the last release may write what it refuses"
        case _ if isinstance(operation, HARMLESS):
            return ""
    return "the last release may need what this changes, or it may hold locks for long"


def label_of(app: str, operation: Operation) -> str:
    return f"{app}.{operation.model_name_lower}"  # type: ignore[attr-defined]


def find_references(app: str, fields: list[Column], new: set[str]) -> str:
    """Return which older table the fields refer to. The last release does not know the rows that it would orphan."""
    for field in fields:
        if field.remote_field:
            to = field.remote_field.model
            label = (to if isinstance(to, str) else to._meta.label).lower()
            label = label if "." in label else f"{app}.{label}"
            if label not in new:
                return f"the last release cannot delete from {label} once rows refer to it"
    return ""


def find_demands(field: Column) -> str:
    """Return what a new column of an older table demands."""
    if field.many_to_many:
        return ""
    if not field.null and field.db_default is NOT_PROVIDED:
        return "the last release inserts rows without the column"
    return BUILDS if field.db_index or field.unique else ""


def find_narrowing(old: Column, new: Column) -> str:
    """Return what the column no longer takes, or that its type changes."""
    if old.null and not new.null:
        return "the last release writes NULL"
    if old.db_default is not NOT_PROVIDED and new.db_default is NOT_PROVIDED:
        return "the last release inserts rows without the column"
    if (new.unique and not old.unique) or (new.db_index and not old.db_index):
        return BUILDS
    types = [field.db_parameters(connection)["type"] for field in (old, new)]
    is_wider = type(old) is type(new) is models.CharField and (new.max_length or 0) >= (old.max_length or 0)
    return "" if types[0] == types[1] or is_wider else "the table is written anew, or takes less"


def list_later_migrations(loader: MigrationLoader) -> Iterator[tuple[str, str, list[Operation]]]:
    """Yield app, name and operations of each migration since the last release."""
    released = set(list_former_migrations())
    for app, name in loader.graph._generate_plan(loader.graph.leaf_nodes(), at_end=True):
        if app in settings.OWN_APPS and (app, name) not in released:
            yield app, name, loader.graph.nodes[app, name].operations


def find_unsafe_operations() -> Iterator[tuple[tuple[str, str], str]]:
    """Yield migration and operation of each unsafe one, with what is wrong with it."""
    loader = MigrationLoader(None)
    state = loader.project_state(list_former_migrations())
    new: set[str] = set()
    for app, name, operations in list_later_migrations(loader):
        for operation in operations:
            before = state.clone()
            operation.state_forwards(app, state)
            if danger := find_danger(app, operation, before, state, new):
                yield (f"{app}.{name}", describe(operation)), danger
            if isinstance(operation, migrations.CreateModel):
                new.add(f"{app}.{operation.name_lower}")


def describe(operation: Operation) -> str:
    return " ".join([type(operation).__name__, operation.migration_name_fragment or ""]).strip()


@pytest.fixture(scope="module")
def unsafe() -> dict[tuple[str, str], str]:
    return dict(find_unsafe_operations())


def test_migrations_since_the_last_release_are_safe_while_it_serves(unsafe: dict[tuple[str, str], str]) -> None:
    assert {key: danger for key, danger in unsafe.items() if key not in EXCEPTIONS} == {}


def test_every_exception_is_still_needed(unsafe: dict[tuple[str, str], str]) -> None:
    assert EXCEPTIONS.keys() <= unsafe.keys()


def test_migrations_since_the_last_release_can_be_reversed() -> None:
    later = list_later_migrations(MigrationLoader(None))
    fixed = [(app, name) for app, name, operations in later for each in operations if not each.reversible]
    assert fixed == []


# --- The rule itself -------------------------------------------------------------------------------------------------

JOB = "expectedbackupjob"
REFERS = models.ForeignKey("backups.expectedbackupjob", models.CASCADE, null=True)
BY_NAME = models.Index(fields=["database_name"], name="job_database_name")
ONE_PER_NAME = models.UniqueConstraint(fields=["database_name"], name="one_per_name")
REFUSED = [
    migrations.RemoveField(JOB, "city"),
    migrations.RenameField(JOB, "city", "town"),
    migrations.RenameModel(JOB, "expecteddump"),
    migrations.DeleteModel(JOB),
    migrations.AlterModelTable(JOB, "dumps"),
    migrations.RunSQL("SELECT 1"),
    migrations.RunPython(migrations.RunPython.noop),
    migrations.AddField(JOB, "town", models.CharField(max_length=8, default="")),
    migrations.AddField(JOB, "town", models.CharField(max_length=8, null=True, db_index=True)),
    migrations.AddField(JOB, "town", models.CharField(max_length=8, null=True, unique=True)),
    migrations.AddField(JOB, "parent", REFERS),
    migrations.AddField(JOB, "others", models.ManyToManyField("backups.expectedbackupjob")),
    migrations.AlterField(JOB, "last_success_at", models.DateTimeField()),
    migrations.AlterField(JOB, "city", models.CharField(max_length=2)),
    migrations.AlterField(JOB, "city", models.TextField()),
    migrations.AlterField(JOB, "city", models.CharField(max_length=4_000, db_index=True)),
    migrations.AlterField(JOB, "city", models.CharField(max_length=4_000, unique=True)),
    migrations.AddIndex(JOB, BY_NAME),
    migrations.AddConstraint(JOB, ONE_PER_NAME),
    migrations.CreateModel("Town", [("job", REFERS)]),
]
OF_A_TABLE = (migrations.AddIndex, migrations.AddConstraint, migrations.RemoveField, migrations.RenameField)
ALLOWED = [
    migrations.AlterModelOptions(JOB, {"ordering": ["city"]}),
    migrations.AddField(JOB, "town", models.CharField(max_length=8, null=True)),
    migrations.AddField(JOB, "town", models.CharField(max_length=8, default="", db_default="")),
    migrations.AlterField(JOB, "city", models.CharField(max_length=4_000)),
    AddIndexConcurrently(JOB, BY_NAME),
    migrations.CreateModel("Town", [("name", models.CharField(max_length=8)), ("twin", models.ForeignKey("Town", models.CASCADE))]),
]  # fmt: skip


@pytest.fixture(scope="module")
def released() -> ProjectState:
    return MigrationLoader(None).project_state(list_former_migrations())


def danger_of(operation: Operation, released: ProjectState, new: set[str]) -> str:
    after = released.clone()
    operation.state_forwards("backups", after)
    return find_danger("backups", operation, released, after, new)


@pytest.mark.parametrize("operation", REFUSED, ids=describe)
def test_operation_that_the_last_release_suffers_from_is_refused(operation: Operation, released: ProjectState) -> None:
    assert danger_of(operation, released, set())


@pytest.mark.parametrize("operation", ALLOWED, ids=describe)
def test_operation_that_only_adds_is_allowed(operation: Operation, released: ProjectState) -> None:
    assert danger_of(operation, released, set()) == ""


@pytest.mark.parametrize("operation", [each for each in REFUSED if isinstance(each, OF_A_TABLE)], ids=describe)  # fmt: skip
def test_table_that_the_last_release_does_not_have_may_change(operation: Operation, released: ProjectState) -> None:
    assert danger_of(operation, released, {f"backups.{JOB}"}) == ""


def test_column_that_loses_its_database_default_is_refused(released: ProjectState) -> None:
    before = released.clone()
    migrations.AddField(JOB, "town", models.CharField(max_length=8, default="", db_default="")).state_forwards(
        "backups", before
    )
    assert "without the column" in danger_of(
        migrations.AlterField(JOB, "town", models.CharField(max_length=8, default="")), before, set()
    )


@pytest.mark.django_db(transaction=True)
def test_index_is_added_and_removed_outside_a_transaction_on_each_database(released: ProjectState) -> None:
    operation, after = AddIndexConcurrently(JOB, BY_NAME), released.clone()
    operation.state_forwards("backups", after)

    def names() -> set[str]:
        with connection.cursor() as cursor:
            return set(connection.introspection.get_constraints(cursor, "backups_expectedbackupjob"))

    with connection.schema_editor(atomic=False) as editor:
        operation.database_forwards("backups", editor, released, after)
        assert BY_NAME.name in names()
        operation.database_backwards("backups", editor, after, released)
    assert BY_NAME.name not in names()


@pytest.mark.postgresql("SQLite builds no index beside writes")
@pytest.mark.django_db(transaction=True)
def test_index_that_an_interrupted_migration_left_invalid_is_made_anew(released: ProjectState) -> None:
    operation, after = AddIndexConcurrently(JOB, BY_NAME), released.clone()
    operation.state_forwards("backups", after)
    validity = "UPDATE pg_index SET indisvalid = false WHERE indexrelid = %s::regclass"
    with connection.schema_editor(atomic=False) as editor, connection.cursor() as cursor:
        operation.database_forwards("backups", editor, released, after)
        cursor.execute(validity, [BY_NAME.name])
        operation.database_forwards("backups", editor, released, after)
        cursor.execute("SELECT indisvalid FROM pg_index WHERE indexrelid = %s::regclass", [BY_NAME.name])
        assert cursor.fetchone() == (True,)
        operation.database_backwards("backups", editor, after, released)
