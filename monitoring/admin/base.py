"""Bases of the admins: the list with its style, rows that are deleted one by one, and actions on locked rows."""

from collections.abc import Sequence
from typing import Any, ClassVar

from django.db.models import Model, QuerySet
from django.http import HttpRequest

from portal.admin.base import VigieModelAdmin
from portal.admin.confirm import find_rows
from portal.base.words import format_count


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
        """Return counts of what is deleted too: Django would list each of a million rows."""
        keys = [obj.pk for obj in objs]
        counts = {self.opts.verbose_name_plural: len(keys)}
        for model, reference in self.counted:
            rows = model._default_manager.filter(**{f"{reference}__in": keys})
            counts[model._meta.verbose_name_plural] = rows.count()
        return (
            [str(obj) for obj in objs],
            {name: format_count(count) for name, count in counts.items() if count},
            set(),
            [],
        )


class LockingAdmin(MonitoringAdmin):
    """Actions on rows that are locked until the action is done, so that its audit events are true."""

    def lock_rows(self, request: HttpRequest, queryset: QuerySet[Any], action: str) -> list[Any]:
        """Return the chosen rows to which the action applies, or none and show why."""
        return find_rows(self, request, queryset.select_for_update(of=("self",)), action)
