"""Roles: groups whose permissions follow from the names of the permissions in code.

An app contributes by what it calls its permissions: `view_…` is for everybody who looks, `export_…` lets data leave the
portal, and whatever else it names (issuing, revoking, uninstalling) is an operator's. Users and groups stay with
superusers: who may change a user may become any user.
"""

from __future__ import annotations

from pathlib import Path

from django.apps import apps
from django.conf import settings
from django.contrib.auth.models import Group, Permission
from django.db import transaction
from django.db.models import Q, QuerySet

VIEWER, STAFF, OPERATOR = "viewer", "staff", "operator"
PREFIXES = {
    VIEWER: ("view_",),
    STAFF: ("view_", "export_"),
    OPERATOR: ("",),
}


def own_apps() -> list[str]:
    """The labels of our apps: those that live beside manage.py."""
    return [app.label for app in apps.get_app_configs() if Path(app.path).parent == settings.BASE_DIR]


def permissions_of(role: str) -> QuerySet[Permission]:
    condition = Q()
    for prefix in PREFIXES[role]:
        condition |= Q(codename__startswith=prefix)
    return Permission.objects.filter(condition, content_type__app_label__in=own_apps())


def synchronise() -> None:
    """Makes the groups what the code says they are. Their members stay; groups of other names are left alone."""
    with transaction.atomic():
        for role in PREFIXES:
            Group.objects.get_or_create(name=role)[0].permissions.set(permissions_of(role))
