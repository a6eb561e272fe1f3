"""Acts on several rows at once: how many may be chosen, and the page that asks for what an act needs to know."""

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


class AskingAdmin(VigieModelAdmin):
    """`too_many` says how many may be chosen, with the place of a `count`."""

    too_many: ClassVar[Any]

    def few_enough(self, request: HttpRequest, queryset: QuerySet[Any], condition: Q) -> list[Any]:
        """Those of the chosen that it makes sense for; none, and a message, where none is left or they are too many.

        They stay as they are until the act is done, so that its audit events tell what it changed.
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
        """The form of an action. `chosen` are each a key, a name and what stands beside it; `words` are those of the
        page: `title`, `lead` and `submit`.
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
