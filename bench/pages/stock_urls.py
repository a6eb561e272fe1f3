"""Django's own admin site: each model with as many columns and rows a page as the portal's list of it."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.contrib.admin import AdminSite, ModelAdmin
from django.db.models import JSONField, TextField
from django.urls import path

admin.autodiscover()
site = AdminSite(name="admin")


def stock_admin(ours: Any) -> type[ModelAdmin[Any]]:
    """Return a plain admin class. Related rows are entered by key: a choice of 100,000 machines would take seconds."""
    fields = [field for field in ours.opts.concrete_fields if not isinstance(field, (JSONField, TextField))]
    related = [field for field in (*ours.opts.concrete_fields, *ours.opts.many_to_many) if field.remote_field]
    names = {field.name for field in fields}
    attributes = {
        "list_display": [field.name for field in fields][: len(ours.list_display)],
        "list_per_page": ours.list_per_page,
        # Without what the portal computes for its own order.
        "ordering": [part for part in ours.ordering or () if str(part).removeprefix("-") in names],
        "raw_id_fields": [field.name for field in related if field.editable],
        "lookup_allowed": lambda *arguments: True,
    }
    return type("StockAdmin", (ModelAdmin,), attributes)


for model, model_admin in admin.site._registry.items():
    site.register(model, stock_admin(model_admin))
urlpatterns = [path("admin/", site.urls)]
