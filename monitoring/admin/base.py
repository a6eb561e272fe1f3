"""Bases of the admins: the list with its style, rows that are deleted one by one, and actions on locked rows."""

from collections.abc import Sequence
from typing import Any, ClassVar

from django.db.models import Model, QuerySet
from django.http import HttpRequest

from portal.admin.base import VigieModelAdmin
from portal.admin.confirm import find_rows, summarize_deletion


class MonitoringAdmin(VigieModelAdmin):
    class Media:
        css = {"all": ("monitoring/monitoring.css",)}

    actions: Sequence[Any] = ("export_chosen", "export_chosen_xlsx")


class SingleDeletionAdmin(MonitoringAdmin):
    """Rows that are deleted one by one. `counted` are the models of rows that go with one, each with its reference."""

    counted: ClassVar[Sequence[tuple[type[Model], str]]]

    def get_actions(self, request: HttpRequest) -> dict[str, Any]:
        actions = super().get_actions(request)
        actions.pop("delete_selected", None)
        return actions

    def get_deleted_objects(self, objs: Any, request: HttpRequest) -> Any:
        return summarize_deletion(self, list(objs))


class LockingAdmin(MonitoringAdmin):
    """Actions on rows that are locked until the action is done, so that its audit events are true."""

    def lock_rows(self, request: HttpRequest, queryset: QuerySet[Any], action: str) -> list[Any]:
        """Return the chosen rows to which the action applies, or none and show why."""
        return find_rows(self, request, queryset.select_for_update(of=("self",)), action)
