"""Confirmation of admin actions: a page that states the consequences, in numbers, before anything is done.

    def describe_revocation(model_admin, request, queryset) -> Confirmation: ...

    @confirm_first(describe_revocation)
    @admin.action(description=_("Revoke…"), permissions=["manage"])
    def revoke(self, request, queryset): ...

The action runs for the rows that the page listed and for no others, whatever the filters of the list find by then.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from django import forms
from django.contrib import messages
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponseBase, QueryDict
from django.template.response import TemplateResponse
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext

from portal.base.words import format_count

# The page carries the key of every row, and a whole fleet in one transaction would block all other writers.
MOST_AT_ONCE = 500
SHOWN = 20
# What was used within this time is in use.
RECENT = timedelta(hours=24)
CONFIRMED = "confirmed"

# Each takes the ModelAdmin, the request and a queryset of its model.
Action = Callable[..., HttpResponseBase | None]
Describe = Callable[..., "Confirmation"]


@dataclass(frozen=True)
class Confirmation:
    """The sentences, rows and fields of a confirmation page.

    `consequences` are sentences with numbers. `typed` is a text that must be typed first; use it for the worst only.
    `form` is called with the POST data or None, and returns a form whose fields the action needs: it finds the valid
    form as `request.confirmed_form`. `remark` returns a text shown beside a row.
    """

    title: Any
    button: Any
    consequences: Sequence[Any]
    typed: str = ""
    form: Callable[[QueryDict | None], forms.BaseForm] | None = None
    remark: Callable[[Any], Any] | None = None


class TypedForm(forms.Form):
    typed = forms.CharField(widget=forms.TextInput(attrs={"autocomplete": "off"}))

    def __init__(self, expected: str, data: QueryDict | None) -> None:
        super().__init__(data)
        self.expected = expected
        self.fields["typed"].label = _("Type “%(text)s” to confirm") % {"text": expected}

    def clean_typed(self) -> str:
        typed: str = self.cleaned_data["typed"]
        if collapse_spaces(typed) != self.expected:
            raise forms.ValidationError(gettext_lazy("This is not the requested text."))
        return typed


def collapse_spaces(text: str) -> str:
    """Return the text as anyone can type it: names may have double, leading, trailing and no-break spaces."""
    return " ".join(text.split())


def is_confirmed(request: HttpRequest) -> bool:
    """Return True for a request from a confirmation page: it names the rows, never all that a filter finds."""
    return CONFIRMED in request.POST and request.POST.get("select_across", "0") in ("", "0")


def confirm_first(describe: Describe) -> Callable[[Action], Action]:
    """Let an action ask first. It runs with those of the chosen rows to which `can_act` says that it applies."""

    def decorate(action: Action) -> Action:
        @functools.wraps(action)
        def asking(model_admin: Any, request: HttpRequest, queryset: QuerySet[Any]) -> HttpResponseBase | None:
            name = getattr(action, "__name__", "")
            rows = find_rows(model_admin, request, queryset, name)
            if not rows:
                request.needs_no_event = True  # type: ignore[attr-defined]
                return None
            chosen = queryset.filter(pk__in=[row.pk for row in rows])
            confirmation = describe(model_admin, request, chosen)
            data = request.POST if is_confirmed(request) else None
            own = confirmation.form(data) if confirmation.form else None
            typed = collapse_spaces(confirmation.typed)
            asked = [form for form in (own, typed and TypedForm(typed, data)) if form]
            if data is not None and all(form.is_valid() for form in asked):
                request.confirmed_form = own  # type: ignore[attr-defined]
                return action(model_admin, request, chosen)
            return confirmation_page(model_admin, request, confirmation, rows, asked, asking)

        asking.asks_first = True  # type: ignore[attr-defined]
        return asking

    return decorate


def find_rows(model_admin: Any, request: HttpRequest, queryset: QuerySet[Any], name: str) -> list[Any]:
    """Return the rows that the action applies to, or none and show why."""
    rows = list(queryset.order_by(*model_admin.get_ordering(request))[: MOST_AT_ONCE + 1])
    if len(rows) > MOST_AT_ONCE:
        text = _("Choose at most %(count)d at once. Nothing was done.") % {"count": MOST_AT_ONCE}
        model_admin.message_user(request, text, messages.ERROR)
        return []
    if name in getattr(model_admin, "object_actions", ()):
        rows = [row for row in rows if model_admin.can_act(row, name)]
    if not rows:
        model_admin.message_user(request, _("No changes needed."), messages.WARNING)
    return rows


def confirmation_page(
    model_admin: Any,
    request: HttpRequest,
    confirmation: Confirmation,
    rows: list[Any],
    asked: list[Any],
    action: Action,
) -> TemplateResponse:
    remark = confirmation.remark or (lambda row: "")
    beyond = len(rows) - SHOWN
    object_id = request.resolver_match.kwargs.get("object_id") if request.resolver_match else None
    context = {
        "confirmation": confirmation,
        "keys": [row.pk for row in rows],
        "rows": [(row, remark(row)) for row in rows[:SHOWN]],
        "beyond": ngettext("and %(count)d more", "and %(count)d more", beyond) % {"count": beyond}
        if beyond > 0
        else "",
        "asked": asked,
        "action": getattr(action, "__name__", ""),
        "dangerous": getattr(action, "dangerous", False),
        "checkbox": ACTION_CHECKBOX_NAME,
        "address": same_list(request),
        "back": model_admin.address("change", object_id) if object_id else request.get_full_path(),
    }
    response: TemplateResponse = model_admin.render_page(request, "portal/confirm.html", confirmation.title, **context)
    return response


def summarize_deletion(model_admin: Any, rows: Sequence[Any]) -> tuple[list[Any], dict[Any, str], set[str], list[Any]]:
    """Return what `get_deleted_objects` does, with counts of what is deleted too: Django would list a million rows.

    `counted` of the ModelAdmin are the models of rows that go with these, each with its reference.
    """
    counts = {model_admin.opts.verbose_name_plural: len(rows)}
    for model, reference in model_admin.counted:
        found = model._default_manager.filter(**{f"{reference}__in": [row.pk for row in rows]})
        counts[model._meta.verbose_name_plural] = found.count()
    return [str(row) for row in rows], {name: format_count(count) for name, count in counts.items() if count}, set(), []


def same_list(request: HttpRequest) -> str:
    """Return the address of this list without its page number, which may no longer exist by then."""
    query = request.GET.copy()
    query.pop("p", None)
    return f"{request.path}?{query.urlencode()}" if query else request.path
