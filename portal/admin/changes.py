"""Old and new values of a submitted form, as the audit log keeps them."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from datetime import date, datetime, time, timedelta
from typing import Any

from django import forms
from django.db.models import Model, QuerySet
from django.forms.models import ModelChoiceField, ModelMultipleChoiceField

from portal.audit import HIDDEN

LONGEST = 500
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
        field = form.fields[name]
        after[name] = storable(form.cleaned_data.get(name))
        if not is_new:
            before[name] = storable(initial_value(field, form.get_initial_for_field(field, name)))
    return before, after


def initial_value(field: Any, value: Any) -> Any:
    """Return the rows that keys of a choice of rows stand for."""
    if isinstance(field, ModelChoiceField) and value not in (None, "") and not isinstance(value, Model):
        several = isinstance(field, ModelMultipleChoiceField)
        keys = [getattr(each, "pk", each) for each in value] if several else [value]
        return list(field.queryset.model._base_manager.filter(pk__in=keys))  # type: ignore[union-attr]
    return value


def storable(value: Any) -> Any:
    """Return the value as JSON holds it: rows by their names, moments in ISO 8601, long texts cut."""
    if value is None or isinstance(value, bool | int | float):
        return value
    if isinstance(value, datetime | date | time):
        return value.isoformat()
    if isinstance(value, QuerySet | list | tuple | set):
        return names_of(value)
    text = str(value).replace("\r\n", "\n") if not isinstance(value, timedelta) else str(value)
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 1]}…"


def names_of(values: Iterable[Any]) -> str:
    return ", ".join(sorted(str(each) for each in values))[:LONGEST]
