"""Addresses, actions and form data of monitoring's admin pages."""

from __future__ import annotations

import csv

from django.apps import apps
from django.contrib import admin
from django.contrib.auth import get_user
from django.test import RequestFactory

BASE = "/admin/monitoring/"
TARGETS = f"{BASE}target/"


def list_url(row):
    return f"/admin/{row._meta.app_label}/{row._meta.model_name}/"


def page_url(row):
    return f"{list_url(row)}{row.pk}/change/"


def post_action(client, action, *rows, **fields):
    data = {"action": action, "_selected_action": [row.pk for row in rows]} | fields
    return client.post(list_url(rows[0]), data, follow=True)


def post_page_action(client, action, row, **fields):
    return client.post(f"{list_url(row)}{row.pk}/act/{action}/", {"_selected_action": row.pk} | fields, follow=True)


def changelist_rows(client, model, **query):
    """Return the rows that the list shows to the user of the client, without rendering the page."""
    request = RequestFactory().get("/", query)
    request.user = get_user(client)
    return list(admin.site.get_model_admin(model).get_changelist_instance(request).queryset)


def listed_rows(client, model, app="monitoring", **query):
    return [str(row) for row in changelist_rows(client, apps.get_model(app, model), **query)]


def exported_rows(client, address, kind=""):
    """Return the rows of a list's export, or of its `fields/`, each by its titles."""
    text = client.get(f"{address}export/{kind}").getvalue().decode("utf-8-sig")
    return list(csv.DictReader(text.splitlines()))


def form_data(target, **changes):
    """Return what the form of the target sends when it is saved with these changes."""
    names = (
        "name", "url", "method", "interval", "timeout", "retries", "expected_statuses", "contains", "json_path",
        "json_value", "header_name", "header_value", "max_latency_ms", "tls_expiry_days", "failures_to_open",
        "successes_to_close",
    )  # fmt: skip
    values = {name: getattr(target, name) for name in names}
    sent = {name: "" if value is None else value for name, value in values.items()}
    return sent | ({"follow_redirects": "on"} if target.follow_redirects else {}) | changes
