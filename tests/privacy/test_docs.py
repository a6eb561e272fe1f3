"""docs/privacy.md lists every stored field with its purpose and retention."""

import re
from pathlib import Path

import pytest
from django.apps import apps
from django.conf import settings

TEXT = (Path(__file__).parent.parent.parent / "docs" / "privacy.md").read_text(encoding="utf-8")
SECTIONS = re.findall(r"^### [^\n]+ \(`(\w+\.\w+)`\)\n(.*?)(?=^##|\Z)", TEXT, re.MULTILINE | re.DOTALL)
MODELS = {model._meta.label: model for model in apps.get_models() if not model._meta.proxy}


def rows_of(table):
    """Return the cells of a table, without its header."""
    lines = [line for line in table.splitlines() if line.startswith("| ")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[1:]]


def listed(table):
    return [name for row in rows_of(table) for name in re.findall(r"`(\w+)`", row[0])]


def stored(model):
    """Return the model's columns and many-to-many relations, without surrogate keys."""
    columns = [field.name for field in model._meta.concrete_fields if field.name != "id"]
    return columns + [field.name for field in model._meta.many_to_many]


def test_every_table_is_documented_once():
    assert sorted(label for label, _ in SECTIONS) == sorted(MODELS)


@pytest.mark.parametrize(("label", "table"), SECTIONS)
def test_every_field_is_documented_once(label, table):
    assert sorted(listed(table)) == sorted(stored(MODELS[label]))


@pytest.mark.parametrize(("label", "table"), SECTIONS)
def test_every_field_has_a_purpose_and_a_retention(label, table):
    for row in rows_of(table):
        assert len(row) == 3, row
        assert all(row), row


def test_every_named_setting_exists():
    named = set(re.findall(r"`([A-Z][A-Z_]+)(?:=\w+)?`", TEXT)) - {"WHO", "NAME", "VIGIE_TELEMETRY"}
    assert {"AUDIT_RETENTION_DAYS", "ACTIVITY_RETENTION_DAYS", "TRACKING"} <= named
    assert [name for name in named if not hasattr(settings, name)] == []


def test_every_retention_is_named():
    every = {name for name in dir(settings) if name.endswith("_RETENTION_DAYS")}
    assert every <= set(re.findall(r"`([A-Z_]+)`", TEXT))
