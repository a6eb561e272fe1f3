"""Users and groups: Django's own pages, audited, with a list that asks no table for its filters."""

from datetime import datetime
from typing import Any, ClassVar

from django import forms
from django.conf import settings
from django.contrib import admin
from django.contrib.auth.admin import GroupAdmin, UserAdmin
from django.contrib.auth.models import Group, Permission, User
from django.db.models import Q
from django.http import HttpRequest
from django.urls import reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext, gettext_noop
from django.utils.translation import gettext_lazy as _

from portal.access.accounts.staff_tokens import staff_tokens_note
from portal.access.roles import DESCRIPTIONS, describe_permission, name_of_group
from portal.admin.base import GuardedAdmin
from portal.admin.display import exact_moment, moment_column
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


FLAG_HELP = {
    "is_active": _("The user can sign in. Clear this instead of deleting the user."),
    "is_staff": _("The user can open the portal, as far as the roles allow."),
    "is_superuser": _("The user has all permissions, also those that no role gives."),
}


OUTSIDE_ROLES = _("Permissions outside roles")


class PermissionsField(forms.ModelMultipleChoiceField):  # type: ignore[type-arg]
    def label_from_instance(self, obj: Permission) -> str:
        return describe_permission(obj)


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


LAST_LOGIN = moment_column("last_login", _("last login"), show=exact_moment)
JOINED = moment_column("date_joined", User._meta.get_field("date_joined").verbose_name, show=exact_moment)


class ChangedBySuperusers(GuardedAdmin):
    """Only superusers change users and groups: others could give themselves or friends rights that they do not have."""

    def has_add_permission(self, request: HttpRequest) -> bool:
        return bool(request.user.is_superuser)

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return bool(request.user.is_superuser)

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return bool(request.user.is_superuser)

    def render_change_form(self, request: HttpRequest, context: dict[str, Any], *args: Any, **kwargs: Any) -> Any:
        context |= {"show_save_and_continue": False, "show_save_and_add_another": False}
        return super().render_change_form(request, context, *args, **kwargs)


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
    readonly_fields = ("password_link", "own_permissions", "staff_tokens", LAST_LOGIN, JOINED)  # type: ignore[assignment]

    def get_fieldsets(self, request: HttpRequest, obj: User | None = None) -> Any:
        """Return what roles leave to choose, and for users who have permissions outside their roles, those."""
        rights = ["is_active", "is_staff", "is_superuser", "groups"]
        if obj is not None and obj.user_permissions.exists():
            rights.append("user_permissions" if self.has_change_permission(request, obj) else "own_permissions")
        return (
            (None, {"fields": ("username", "password_link", "first_name", "last_name", "email")}),
            (_("Roles"), {"fields": rights}),
            (_("Staff tokens"), {"fields": ("staff_tokens",)}),
            (_("Important dates"), {"fields": (LAST_LOGIN, JOINED)}),
        )

    def formfield_for_dbfield(self, db_field: Any, request: HttpRequest, **kwargs: Any) -> Any:
        field = super().formfield_for_dbfield(db_field, request, **kwargs)
        if field is not None and db_field.name in FLAG_HELP:
            field.help_text = FLAG_HELP[db_field.name]
        return field

    def get_form(self, request: HttpRequest, obj: Any = None, change: bool = False, **kwargs: Any) -> Any:
        """Offer only the permissions that the user has outside their roles: they can be removed, not added."""
        form: Any = super().get_form(request, obj, change=change, **kwargs)
        if obj is not None and "user_permissions" in form.base_fields:
            form.base_fields["user_permissions"].queryset = obj.user_permissions.select_related("content_type")
        return form

    def formfield_for_manytomany(self, db_field: Any, request: HttpRequest, **kwargs: Any) -> Any:
        if db_field.name == "user_permissions":
            kwargs |= {"form_class": PermissionsField, "widget": forms.CheckboxSelectMultiple}
            kwargs |= {"label": OUTSIDE_ROLES, "help_text": _("Clear a permission to remove it.")}
        return super().formfield_for_manytomany(db_field, request, **kwargs)

    @admin.display(description=OUTSIDE_ROLES)
    def own_permissions(self, user: User) -> str:
        """Return what the user may do outside their roles: granted earlier, since the portal offers only roles."""
        return "\n".join(map(describe_permission, user.user_permissions.select_related("content_type")))

    @admin.display(description=_("password"))
    def password_link(self, user: User) -> SafeString:
        """Link to the page that sets a password: the hash means nothing to a reader."""
        url = reverse("admin:auth_user_password_change", args=[user.pk])
        return format_html('<a href="{}">{}</a>', url, gettext("Change the password"))

    @admin.display(description=_("valid"))
    def staff_tokens(self, user: User) -> SafeString | str:
        return staff_tokens_note(user, is_linked=True) or EMPTY_VALUE


@admin.register(Group)
class VigieGroupAdmin(ChangedBySuperusers, GroupAdmin):
    menu_order = 4
    list_display = ("role", "rights")
    search_fields = ("name__fragment",)
    change_list_template = "portal/list.html"
    change_form_template = "portal/object.html"
    show_full_result_count = False
    purpose = _("Groups of permissions. The roles operator, staff and viewer are defined by the portal.")

    def get_fieldsets(self, request: HttpRequest, obj: Group | None = None) -> Any:
        return [(None, {"fields": ("name", "rights" if is_role(obj) else "permissions")})]

    def get_readonly_fields(self, request: HttpRequest, obj: Group | None = None) -> Any:
        """Return all fields of a role: the next `prepare` would undo a change."""
        return ("name", "rights") if is_role(obj) else ()

    def render_change_form(self, request: HttpRequest, context: dict[str, Any], *args: Any, **kwargs: Any) -> Any:
        context |= {"show_save": not is_role(kwargs.get("obj"))}
        return super().render_change_form(request, context, *args, **kwargs)

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Keep the roles: the portal would create them again, without their members."""
        return super().has_delete_permission(request, obj) and not is_role(obj)

    def formfield_for_manytomany(self, db_field: Any, request: HttpRequest | None = None, **kwargs: Any) -> Any:
        """Offer the permissions of the portal's own apps and of users, not those of the libraries."""
        if db_field.name == "permissions":
            own = settings.OWN_APPS | {"auth"}
            kwargs["queryset"] = Permission.objects.filter(content_type__app_label__in=own)
            kwargs["form_class"] = PermissionsField
        return super().formfield_for_manytomany(db_field, request, **kwargs)

    def title_of(self, obj: Group) -> str:
        return name_of_group(obj)

    @admin.display(description=_("name"), ordering="name")
    def role(self, group: Group) -> str:
        return name_of_group(group)

    @admin.display(description=_("permissions"))
    def rights(self, group: Group) -> Any:
        return DESCRIPTIONS.get(group.name, _("as selected"))


def is_role(group: Group | None) -> bool:
    return group is not None and group.name in DESCRIPTIONS
