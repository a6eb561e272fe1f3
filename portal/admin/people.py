"""Users and groups: Django's own pages, audited, with a list that asks no table for its filters."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.contrib import admin
from django.contrib.auth.admin import GroupAdmin, UserAdmin
from django.contrib.auth.models import Group, User
from django.utils.translation import gettext_lazy as _

from portal.admin.base import Audited
from portal.admin.display import moment_column

if TYPE_CHECKING:
    BaseUserAdmin = UserAdmin[User]
else:
    BaseUserAdmin = UserAdmin

admin.site.unregister(User)
admin.site.unregister(Group)


@admin.register(User)
class VigieUserAdmin(Audited, BaseUserAdmin):
    list_display = (
        "username",
        "email",
        "last_name",
        "is_active",
        "is_staff",
        moment_column("last_login", _("last login")),
    )
    change_list_template = "portal/list.html"
    list_filter = ("is_active", "is_staff", "is_superuser")
    show_full_result_count = False
    show_facets = admin.ShowFacets.NEVER


@admin.register(Group)
class VigieGroupAdmin(Audited, GroupAdmin):
    list_display = ("name",)
    change_list_template = "portal/list.html"
    show_full_result_count = False
