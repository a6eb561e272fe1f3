"""Lists of the admin, asked without rendering their pages."""

from __future__ import annotations

from typing import Any

from django.apps import apps
from django.contrib import admin
from django.contrib.auth.models import User
from django.db.models import QuerySet
from django.test import RequestFactory


def list_rows(model: str, **query: str) -> QuerySet[Any]:
    """Return the rows that a superuser's list of this model of usage shows for the query."""
    request = RequestFactory().get("/", query)
    request.user = User(is_superuser=True)
    model_admin = admin.site.get_model_admin(apps.get_model("usage", model))
    rows: QuerySet[Any] = model_admin.get_changelist_instance(request).queryset
    return rows
