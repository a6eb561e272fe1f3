"""Rules of every page of the admin: permission before lookup, and lists filtered by declared parameters only."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest

if TYPE_CHECKING:
    BaseModelAdmin = admin.ModelAdmin[Any]
else:
    BaseModelAdmin = admin.ModelAdmin


class GuardedAdmin(BaseModelAdmin):
    """The base class of every ModelAdmin, which accepts declared lookups only.

    `lookups` are the list parameters in addition to those of its filters, used by links of the portal. Django would
    accept any lookup on any column: expensive ones, and on columns that no page shows.
    """

    lookups: ClassVar[Sequence[str]] = ()

    def lookup_allowed(self, lookup: str, value: str, request: HttpRequest | None = None) -> bool:
        """Return whether the list may be filtered so; Django answers 400 where not."""
        filters = {getattr(filter_class, "parameter_name", "") for filter_class in self.list_filter}
        return lookup in filters or lookup in self.lookups

    def to_field_allowed(self, request: HttpRequest, to_field: str) -> bool:
        """Return whether a popup may refer to rows by this field: only by the primary key."""
        return to_field == self.opts.pk.attname

    def get_object(self, request: HttpRequest, object_id: str, from_field: str | None = None) -> Any:
        """Look a row up only for users who may view the model: nobody else learns which rows exist."""
        if not self.has_view_or_change_permission(request):
            raise PermissionDenied
        return super().get_object(request, object_id, from_field)
