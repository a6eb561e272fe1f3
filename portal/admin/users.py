"""Users and groups: Django's own pages, audited, with a list that asks no table for its filters."""

from datetime import datetime
from typing import Any, ClassVar

from django.contrib import admin
from django.contrib.auth.admin import GroupAdmin, UserAdmin
from django.contrib.auth.models import Group, User
from django.db.models import Q
from django.http import HttpRequest
from django.utils.safestring import SafeString
from django.utils.translation import gettext_lazy as _
from django.utils.translation import gettext_noop

from portal.access.accounts.staff_tokens import staff_tokens_note
from portal.access.roles import DESCRIPTIONS
from portal.admin.base import GuardedAdmin
from portal.admin.display import moment_column
from portal.admin.filters import ChoiceFilter
from portal.admin.invitations import Inviting
from portal.admin.searching import search_by
from portal.base.words import EMPTY_VALUE

# Texts of Django whose French is another word than the portal's, or disagrees in gender: the catalogue has its own.
DJANGO_TEXTS = (
    gettext_noop("email address"),
    gettext_noop("Add %s"),
    gettext_noop("Change %s"),
    gettext_noop("The {name} “{obj}” was added successfully."),
    gettext_noop("The {name} “{obj}” was changed successfully."),
    gettext_noop("The %(name)s “%(obj)s” was deleted successfully."),
)

admin.site.unregister(User)
admin.site.unregister(Group)


class FlagFilter(ChoiceFilter):
    """A filter by a boolean field."""

    field: ClassVar[str]
    options = {"yes": _("yes"), "no": _("no")}

    def condition(self, value: str, now: datetime) -> Q:
        return Q(**{self.field: value == "yes"})


class ActiveFilter(FlagFilter):
    title = _("active")
    parameter_name = "active"
    field = "is_active"


class StaffFilter(FlagFilter):
    title = _("staff status")
    parameter_name = "staff"
    field = "is_staff"


class SuperuserFilter(FlagFilter):
    title = _("superuser status")
    parameter_name = "superuser"
    field = "is_superuser"


class ChangedBySuperusers(GuardedAdmin):
    """Only superusers change users and groups: others could give themselves or friends rights that they do not have."""

    def has_add_permission(self, request: HttpRequest) -> bool:
        return bool(request.user.is_superuser)

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return bool(request.user.is_superuser)

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return bool(request.user.is_superuser)


@admin.register(User)
class VigieUserAdmin(Inviting, ChangedBySuperusers, UserAdmin):  # type: ignore[type-arg]
    menu_order = 3
    secret_fields = ("password",)
    list_display = (
        "username",
        "email",
        "last_name",
        "is_active",
        "is_staff",
        moment_column("last_login", _("last login")),
    )
    change_list_template = "portal/list.html"
    search_fields = ("username__fragment", "first_name__fragment", "last_name__fragment", "email__fragment")
    search_help_text = search_by(_("username"), _("name"), _("e-mail"))
    list_filter = (ActiveFilter, StaffFilter, SuperuserFilter)
    show_full_result_count = False
    show_facets = admin.ShowFacets.NEVER
    readonly_fields = ("staff_tokens",)

    def get_fieldsets(self, request: HttpRequest, obj: User | None = None) -> Any:
        """Return what roles leave to choose. Single permissions are shown only of users who have some."""
        rights = ["is_active", "is_staff", "is_superuser", "groups"]
        if obj is not None and obj.user_permissions.exists():
            rights.append("user_permissions")
        return (
            (None, {"fields": ("username", "password", "first_name", "last_name", "email")}),
            (_("Roles"), {"fields": rights}),
            (_("Staff tokens"), {"fields": ("staff_tokens",)}),
            (_("Important dates"), {"fields": ("last_login", "date_joined")}),
        )

    @admin.display(description=_("valid"))
    def staff_tokens(self, user: User) -> SafeString | str:
        return staff_tokens_note(user, is_linked=True) or EMPTY_VALUE


@admin.register(Group)
class VigieGroupAdmin(ChangedBySuperusers, GroupAdmin):
    menu_order = 4
    list_display = ("name", "rights")
    search_fields = ("name__fragment",)
    change_list_template = "portal/list.html"
    show_full_result_count = False
    purpose = _("Groups of permissions. The roles operator, staff and viewer are defined by the portal.")

    def get_fieldsets(self, request: HttpRequest, obj: Group | None = None) -> Any:
        return [(None, {"fields": ("name", "rights" if is_role(obj) else "permissions")})]

    def get_readonly_fields(self, request: HttpRequest, obj: Group | None = None) -> Any:
        """Return all fields of a role: the next `prepare` would undo a change."""
        return ("name", "rights") if is_role(obj) else ()

    @admin.display(description=_("permissions"))
    def rights(self, group: Group) -> Any:
        return DESCRIPTIONS.get(group.name, _("as selected"))


def is_role(group: Group | None) -> bool:
    return group is not None and group.name in DESCRIPTIONS
