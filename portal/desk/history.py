"""Audit events in words, with links, and the history section of a page."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import chain
from typing import Any

from django.apps import apps
from django.contrib import admin
from django.core.exceptions import FieldDoesNotExist
from django.urls import reverse
from django.utils.dateparse import parse_datetime
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.text import capfirst
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from portal.audit import EVENT_TEXTS, HIDDEN, SUBJECTS, VALUE_NAMES
from portal.base.words import EMPTY_VALUE, format_count, format_moment
from portal.desk.panels import Section
from portal.models import AuditEvent

SHOWN = 50
# Digits of the largest keys that every database holds.
LONGEST_KEY = 18
NOT_SET: tuple[Any, ...] = (None, "", [])


# --- Events ----------------------------------------------------------------------------------------------------------


def describe_event(event: AuditEvent) -> str:
    """Return the event's action in words, or the action's name if it has no text."""
    text = describe_admin_action(event) or str(EVENT_TEXTS.get(event.action, event.action))
    return text if event.count == 1 else _("%(sentence)s (%(count)s times)") % {"sentence": text, "count": event.count}


def describe_admin_action(event: AuditEvent) -> str:
    """Return the button's text of an action without an event of its own, or nothing."""
    model_admin = find_admin(event.subject) if event.action == "admin.action" else None
    if model_admin is None:
        return ""
    name = recorded_values(event.after).get("action", "")
    found = None if name == "export_shown" else model_admin.get_action(name)
    text = _("List exported") if found is None else str(found[2]).rstrip("…")
    return f"{text} ({model_admin.opts.verbose_name_plural})"


def find_admin(label: str) -> Any:
    return next((own for model, own in admin.site._registry.items() if model._meta.label_lower == label), None)


# --- Values ----------------------------------------------------------------------------------------------------------


def recorded_values(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def changes_of(event: AuditEvent) -> Iterator[str]:
    """Yield the event's values, one by one: `Pages a month: 14,995 → 20,000`."""
    if event.action == "admin.action":
        chosen = recorded_values(event.after).get("chosen")
        if isinstance(chosen, list):
            yield ngettext("%(count)s selected", "%(count)s selected", len(chosen)) % {"count": len(chosen)}
        elif chosen:
            yield _("all selected")
        return
    if isinstance(event.after, list):  # of events before values were recorded
        changed = (part.get("changed", {}).get("fields", []) for part in event.after if isinstance(part, dict))
        yield from map(str, chain.from_iterable(changed))
        return
    before, after = recorded_values(event.before), recorded_values(event.after)
    for name in [*after, *(name for name in before if name not in after)]:
        was, value = before.get(name), after.get(name)
        if was in NOT_SET and value in NOT_SET:
            continue
        field = find_field(event.subject, name)
        label = VALUE_NAMES.get(name) or getattr(field, "verbose_name", None) or getattr(field, "label", None) or name
        change = describe_value(field, value)
        if name in before and value != HIDDEN:
            change = f"{describe_value(field, was)} → {change}"
        yield _("%(name)s: %(value)s") % {"name": capfirst(str(label)), "value": change}


def chosen_keys(event: AuditEvent) -> list[str]:
    """Return the keys of the rows on which an action without an event of its own acted."""
    chosen = recorded_values(event.after).get("chosen") if event.action == "admin.action" else None
    return list(map(str, chosen)) if isinstance(chosen, list) else []


def describe_changes(event: AuditEvent) -> str:
    return ", ".join(changes_of(event))


def find_field(subject: str, name: str) -> Any:
    """Return the field of the subject's model or form that has this name, or None."""
    kind = SUBJECTS.get(subject.partition(":")[0])
    if kind is None:
        return None
    try:
        return apps.get_model(kind.model)._meta.get_field(name)
    except FieldDoesNotExist:
        return getattr(getattr(find_admin(kind.model), "form", None), "base_fields", {}).get(name)


def describe_value(field: Any, value: Any) -> str:
    """Return a recorded value as people read it."""
    if value in NOT_SET:
        return EMPTY_VALUE
    if value == HIDDEN:
        return _("changed (not recorded)")
    if isinstance(value, bool):
        return _("yes") if value else _("no")
    choices = dict(getattr(field, "flatchoices", None) or ())
    if isinstance(value, list):
        return ", ".join(describe_value(field, each) for each in value)
    if isinstance(value, str | int) and value in choices:
        return str(choices[value])
    if isinstance(value, int):
        return format_count(value)
    moment = recorded_moment(value) if isinstance(value, str) else None
    return format_moment(moment) if moment else str(value)


def recorded_moment(text: str) -> Any:
    try:
        moment = parse_datetime(text)
    except ValueError:
        return None
    return moment if moment is not None and moment.tzinfo is not None else None


# --- Subjects and actors ---------------------------------------------------------------------------------------------


def name_subjects(subjects: Iterable[str]) -> dict[str, str]:
    """Return the names of subjects that are numbers, such as `target:7`, one query for each kind of those that have."""
    numbers: dict[str, set[int]] = {}
    for prefix, _colon, rest in (subject.partition(":") for subject in subjects):
        if prefix in SUBJECTS and rest.isdecimal() and len(rest) <= LONGEST_KEY:
            numbers.setdefault(prefix, set()).add(int(rest))
    named: dict[str, str] = {}
    for prefix, keys in numbers.items():
        model = apps.get_model(SUBJECTS[prefix].model)
        if any(field.name == "name" for field in model._meta.concrete_fields):
            rows = model._default_manager.filter(pk__in=keys).order_by().values_list("pk", "name")
            named |= {f"{prefix}:{key}": name for key, name in rows}
    return named


def link_subject(subject: str, name: str = "") -> SafeString | str:
    """Return a subject or actor as a link to its page: `agent:PC-7` as `PC-7 machine`, `target:7` as `Target 7`.

    A `name` stands in place of a number. The link finds the row when it is followed, so that a list needs no queries
    for its links.
    """
    prefix, colon, rest = subject.partition(":")
    own = None if colon else find_admin(subject)
    if own is not None:
        address = reverse(f"admin:{own.opts.app_label}_{own.opts.model_name}_changelist")
        return format_html('<a href="{}">{}</a>', address, capfirst(own.opts.verbose_name_plural))
    if prefix not in SUBJECTS or not rest:
        return subject or EMPTY_VALUE
    address = reverse("admin:portal_auditevent_subject", query={"name": subject})
    kind = apps.get_model(SUBJECTS[prefix].model)._meta.verbose_name
    if rest.isdecimal() and not name:
        return format_html('<a href="{}">{} {}</a>', address, capfirst(kind), rest)
    return format_html('<a href="{}">{}</a> <span class="quiet">{}</span>', address, name or rest, kind)


def history_section(subject: str) -> Section:
    """Return the newest events about the subject."""
    events = AuditEvent.objects.filter(subject=subject).order_by("-id")[:SHOWN]
    return Section(
        title=_("History"),
        columns=[_("Time"), _("Event"), _("Details"), _("Actor"), _("IP address")],
        rows=[
            [event.last_at, describe_event(event), describe_changes(event), link_subject(event.actor), event.address]
            for event in events
        ],
        url=reverse("admin:portal_auditevent_changelist", query={"q": subject}),
        empty=_("No activity."),
    )
