"""Permissions, and roles: groups whose permissions follow from the names of the permissions in code.

An app contributes by what it calls its permissions: `view_…` is for everybody who looks, `export_…` lets data leave the
portal, and whatever else it names (issuing, revoking, uninstalling) is an operator's. Users and groups stay with
superusers: who may change a user may become any user.
"""

from typing import Any

from django.apps import apps
from django.conf import settings
from django.contrib.auth.models import AbstractBaseUser, AnonymousUser, Group, Permission
from django.db import transaction
from django.db.models import QuerySet
from django.utils.functional import Promise
from django.utils.translation import gettext, pgettext_lazy
from django.utils.translation import gettext_lazy as _

VIEWER, STAFF, OPERATOR = "viewer", "staff", "operator"
# Beginnings of the codenames that a role has.
PREFIXES = {VIEWER: "view_", STAFF: "(view|export)_", OPERATOR: ""}
DESCRIPTIONS: dict[str, Promise] = {
    VIEWER: _("sees everything, changes and exports nothing"),
    STAFF: _("sees everything and exports data"),
    OPERATOR: _(
        "sees and exports everything, changes settings, issues tokens, acts on machines, backups and incidents"
    ),
}


def is_allowed(user: Any, permission: str) -> bool:
    """Return whether the user has the permission; one to export counts only beside the one to view."""
    return bool(user.has_perms({permission, permission.replace(".export_", ".view_")}))


def own_apps() -> list[str]:
    return [app.label for app in apps.get_app_configs() if app.name in settings.OWN_APPS]


def role_permissions(role: str) -> QuerySet[Permission]:
    beginning = f"^{PREFIXES[role]}"
    return Permission.objects.filter(codename__regex=beginning, content_type__app_label__in=own_apps())


ROLE_NAMES: dict[str, Promise] = {
    VIEWER: pgettext_lazy("role", "viewer"),
    STAFF: pgettext_lazy("role", "staff"),
    OPERATOR: pgettext_lazy("role", "operator"),
}
# What the permissions that Django makes for each model allow.
DEFAULT_PERMISSIONS: dict[str, Promise] = {
    "view": _("Can view %(names)s"),
    "add": _("Can add %(names)s"),
    "change": _("Can change %(names)s"),
    "delete": _("Can delete %(names)s"),
}


def name_of_group(group: Group) -> str:
    """Return the group's name, that of a role in the reader's language."""
    return str(ROLE_NAMES.get(group.name, group.name))


def describe_permission(permission: Permission) -> str:
    """Return `Machines: Can export machines`; Django's own text names models as the database does, in English."""
    action, _underscore, model_name = permission.codename.partition("_")
    model = permission.content_type.model_class()
    if model is None:
        return permission.name
    if action in DEFAULT_PERMISSIONS and model_name == model._meta.model_name:
        text = DEFAULT_PERMISSIONS[action] % {"names": model._meta.verbose_name_plural}
    else:
        text = gettext(permission.name)
    app = apps.get_app_config(model._meta.app_label).verbose_name
    return gettext("%(name)s: %(value)s") % {"name": app, "value": text}


def describe_role(group: Group) -> str:
    """Return the name of a group and, of a role, what its members may do."""
    if group.name not in DESCRIPTIONS:
        return group.name
    return gettext("%(role)s: %(rights)s") % {"role": name_of_group(group), "rights": DESCRIPTIONS[group.name]}


def roles_given_by(user: AbstractBaseUser | AnonymousUser) -> QuerySet[Group]:
    """Return the roles that the user may give to others: those that hold no permission the user lacks."""
    held = user.get_all_permissions()  # type: ignore[union-attr]
    return Group.objects.filter(name__in=[role for role in PREFIXES if permission_names(role) <= held]).order_by("pk")


def permission_names(role: str) -> set[str]:
    """Return the role's permissions as `app.codename`."""
    rows = role_permissions(role).values_list("content_type__app_label", "codename")
    return {f"{app}.{codename}" for app, codename in rows}


def synchronise_roles() -> None:
    """Make the groups what the code says they are. Their members stay; groups of other names are left alone."""
    with transaction.atomic():
        for role in PREFIXES:
            synchronise_role(Group.objects.get_or_create(name=role)[0])


def synchronise_role(group: Group) -> None:
    """Give a role its permissions. Only one that loses some ends the sessions of its members, not each upgrade."""
    wanted, held = set(role_permissions(group.name)), set(group.permissions.all())
    rows = Group.permissions.through
    rows.objects.bulk_create([rows(group=group, permission=permission) for permission in wanted - held])
    group.permissions.remove(*held - wanted)
