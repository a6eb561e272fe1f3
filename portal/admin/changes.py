"""Old and new values of a submitted form, as the audit log keeps them."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from datetime import date, datetime, time
from typing import Any

from django import forms
from django.db.models import Model, QuerySet
from django.forms.models import ModelChoiceField, ModelMultipleChoiceField

from portal.audit import HIDDEN

LONGEST = 500
# Of a long text, so many characters before the change are kept.
CONTEXT = 40
SEVERAL = (QuerySet, list, tuple, set)
Values = dict[str, Any]


def is_secret(form: Any, name: str, secret_fields: Collection[str]) -> bool:
    """Return True for fields whose values must not be recorded: declared ones, passwords, and those without a field."""
    field = form.fields.get(name)
    return field is None or name in secret_fields or isinstance(field.widget, forms.PasswordInput)


def changed_values(form: Any, secret_fields: Collection[str], is_new: bool) -> tuple[Values, Values]:
    """Return the old and the new values of the fields that the form changes, by field. New rows have no old values."""
    before, after = {}, {}
    for name in form.changed_data:
        if is_secret(form, name, secret_fields):
            after[name] = HIDDEN
            continue
        field, value = form.fields[name], form.cleaned_data.get(name)
        if is_new:
            after[name] = cut(storable(value))
        else:
            was = initial_value(field, form.get_initial_for_field(field, name))
            before[name], after[name] = storable_change(was, value)
    return before, after


def initial_value(field: Any, value: Any) -> Any:
    """Return the rows that keys of a choice of rows stand for."""
    if isinstance(field, ModelChoiceField) and value not in (None, "") and not isinstance(value, Model):
        several = isinstance(field, ModelMultipleChoiceField)
        keys = [getattr(each, "pk", each) for each in value] if several else [value]
        return list(field.queryset.model._base_manager.filter(pk__in=keys))  # type: ignore[union-attr]
    return value


def storable_change(was: Any, value: Any) -> tuple[Any, Any]:
    """Return both values as JSON holds them, long ones from where they differ: the change must not be cut off."""
    old, new = storable(was), storable(value)
    if not isinstance(old, str) or not isinstance(new, str) or max(len(old), len(new)) <= LONGEST:
        return cut(old), cut(new)
    if isinstance(was, SEVERAL) and isinstance(value, SEVERAL):
        common = {str(each) for each in was} & {str(each) for each in value}
        old, new = (", ".join(["…", *(name for name in names(each) if name not in common)]) for each in (was, value))
        return cut(old), cut(new)
    shorter = min(len(old), len(new))
    differing = next((at for at in range(shorter) if old[at] != new[at]), shorter)
    start = max(differing - CONTEXT, 0)
    dots = "…" if start else ""
    return cut(dots + old[start:]), cut(dots + new[start:])


def storable(value: Any) -> Any:
    """Return the value as JSON holds it: rows by their names, moments in ISO 8601."""
    if value is None or isinstance(value, bool | int | float):
        return value
    if isinstance(value, datetime | date | time):
        return value.isoformat()
    if isinstance(value, SEVERAL):
        return ", ".join(names(value))
    return str(value).replace("\r\n", "\n")


def names(values: Iterable[Any]) -> list[str]:
    return sorted(map(str, values))


def cut(value: Any) -> Any:
    """Return the value, a long text only in part."""
    return f"{value[: LONGEST - 1]}…" if isinstance(value, str) and len(value) > LONGEST else value
