"""Bases of the admins: the list with its style, and actions on several rows, which may ask with a form first."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

from django import forms
from django.contrib import messages
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.db.models import Q, QuerySet
from django.http import HttpRequest
from django.template.response import TemplateResponse
from django.utils.translation import gettext as _

from portal.admin.base import VigieModelAdmin

MOST_AT_ONCE = 500


class MonitoringAdmin(VigieModelAdmin):
    class Media:
        css = {"all": ("monitoring/monitoring.css",)}

    change_list_template = "monitoring/list.html"
    actions: Sequence[Any] = ("export_chosen", "export_chosen_xlsx")


class AskingAdmin(MonitoringAdmin):
    """`too_many` is the message with a placeholder for `count`, the most rows that may be chosen."""

    too_many: ClassVar[Any]

    def few_enough(self, request: HttpRequest, queryset: QuerySet[Any], condition: Q) -> list[Any]:
        """Return the chosen rows that the action applies to, or none and show a message if there are none or too many.

        The rows are locked until the action is done, so that its audit events are true.
        """
        rows = queryset.filter(condition).order_by(*self.ordering or ()).select_for_update(of=("self",))
        chosen = list(rows[: MOST_AT_ONCE + 1])
        if not chosen:
            text = _("Nothing was done: there was nothing to do for any of those chosen.")
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
