"""Bases of the admins: the list with its style, and actions on several rows, which may ask with a form first."""

from collections.abc import Sequence
from typing import Any, ClassVar

from django import forms
from django.contrib import messages
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.db.models import Model, Q, QuerySet
from django.http import HttpRequest
from django.template.response import TemplateResponse
from django.utils.translation import gettext as _

from portal.admin.base import VigieModelAdmin
from portal.admin.confirm import find_rows
from portal.base.words import format_count

MOST_AT_ONCE = 500


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


class AskingAdmin(MonitoringAdmin):
    """`too_many` is the message with a placeholder for `count`, the most rows that may be chosen."""

    too_many: ClassVar[Any]

    def lock_selection(self, request: HttpRequest, queryset: QuerySet[Any], condition: Q) -> list[Any]:
        """Return the chosen rows that the action applies to, or none and show a message if there are none or too many.

        The rows are locked until the action is done, so that its audit events are true.
        """
        rows = queryset.filter(condition).order_by(*self.ordering or ()).select_for_update(of=("self",))
        chosen = list(rows[: MOST_AT_ONCE + 1])
        if not chosen:
            text = _("No changes needed.")
            self.message_user(request, text, messages.WARNING)
        elif len(chosen) > MOST_AT_ONCE:
            self.message_user(request, self.too_many % {"count": MOST_AT_ONCE}, messages.ERROR)
            return []
        return chosen

    def ask(
        self, request: HttpRequest, action: str, form: forms.Form, chosen: Sequence[tuple[int, str, str]], **words: Any
    ) -> TemplateResponse:
        """Return the page with the form of an action. `chosen` are key, name and remark of each row, `words` are the
        page's `title`, `lead` and `submit`.
        """
        context = {
            "chosen": chosen,
            "form": form,
            "action": action,
            "checkbox": ACTION_CHECKBOX_NAME,
            "opts": self.opts,
            **words,
            **self.admin_site.each_context(request),
        }
        return TemplateResponse(request, "monitoring/ask.html", context)
