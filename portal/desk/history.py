"""Audit events in words, with links, and the history section of a page."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from itertools import chain
from typing import Any

from django.apps import apps
from django.contrib import admin
from django.core.exceptions import FieldDoesNotExist
from django.http import HttpRequest
from django.urls import reverse
from django.utils.dateparse import parse_datetime
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.text import capfirst
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from portal.audit import ACTORS, EVENT_TEXTS, HIDDEN, SUBJECTS, VALUE_NAMES
from portal.base.text import truncate_text
from portal.base.words import EMPTY_VALUE, format_count, format_moment
from portal.desk.acknowledging import PERMISSION as ACKNOWLEDGE
from portal.desk.panels import Section
from portal.models import AuditEvent

SHOWN = 50
FINDING = "finding"
LONGEST_NAME = 80
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


def name_subjects(request: HttpRequest, subjects: Iterable[str]) -> dict[str, str]:
    """Return the names of the rows that subjects refer to by a number or key, of kinds that the user may view.

    One or two queries for each kind.
    """
    wanted: defaultdict[tuple[str, str], set[Any]] = defaultdict(set)
    for subject in subjects:
        prefix, _colon, key = subject.partition(":")
        if key and prefix in SUBJECTS and SUBJECTS[prefix].is_key and may_view(request, prefix):
            for field, value in SUBJECTS[prefix].find(key).items():
                wanted[prefix, field].add(value)
    names = {}
    for (prefix, field), values in wanted.items():
        kind = SUBJECTS[prefix]
        related = {path.partition("__")[0] for path in kind.columns if "__" in path}
        rows = apps.get_model(kind.model)._default_manager.only(field, *kind.columns, *related)
        if related:
            rows = rows.select_related(*related)
        for row in rows.filter(**{f"{field}__in": values - {None}}):
            names[f"{prefix}:{getattr(row, field)}"] = str(row)
    return names


def may_view(request: HttpRequest, prefix: str) -> bool:
    model_admin = find_admin(SUBJECTS[prefix].model)
    return model_admin is not None and bool(model_admin.has_view_permission(request))


def describe_subject(subject: str, name: str = "") -> str:
    """Return a subject or actor as text: `PC-7 (machine)`."""
    prefix, _colon, rest = subject.partition(":")
    if prefix in SUBJECTS and rest:
        return f"{name or rest} ({apps.get_model(SUBJECTS[prefix].model)._meta.verbose_name})"
    return str(ACTORS.get(subject, subject)) or EMPTY_VALUE


def link_subject(subject: str, name: str = "", *, links_issues: bool = False) -> SafeString | str:
    """Return a subject or actor as a link to its page: `agent:PC-7` as `PC-7 (machine)`.

    `name` is that of a row which the subject refers to by its number or key. The link finds the row when it is
    followed, so that a list needs no queries for its links. `links_issues` is for users who may acknowledge issues: the
    link leads to where they do.
    """
    prefix, colon, rest = subject.partition(":")
    own = None if colon else find_admin(subject)
    if own is not None:
        address = reverse(f"admin:{own.opts.app_label}_{own.opts.model_name}_changelist")
        return format_html('<a href="{}">{}</a>', address, capfirst(own.opts.verbose_name_plural))
    if prefix == FINDING and rest:
        if not links_issues:
            return name or rest
        address = reverse("admin:acknowledge", query={"key": rest})
        return format_html('<a href="{}">{}</a>', address, name or rest)
    if prefix not in SUBJECTS or not rest:
        return describe_subject(subject)
    address = reverse("admin:portal_auditevent_subject", query={"name": subject})
    kind = apps.get_model(SUBJECTS[prefix].model)._meta.verbose_name
    if not name and rest.isdecimal():
        return format_html('<a href="{}">{} {}</a>', address, capfirst(kind), rest)
    return format_html('<a href="{}">{}</a> <span class="quiet">({})</span>', address, name or rest, kind)


def name_events(request: HttpRequest, events: Iterable[AuditEvent]) -> None:
    """Set `subject_name` and `actor_name` of each event, and `links_issues` for the user.

    The name of an issue is the text that was acknowledged.
    """
    found, links_issues = list(events), request.user.has_perm(ACKNOWLEDGE)
    names = name_subjects(request, chain.from_iterable((event.subject, event.actor) for event in found))
    for event in found:
        issue = recorded_values(event.after).get("finding", "") if event.subject.startswith(f"{FINDING}:") else ""
        event.subject_name = names.get(event.subject) or truncate_text(str(issue), LONGEST_NAME)  # type: ignore[attr-defined]
        event.links_issues = links_issues  # type: ignore[attr-defined]
        event.actor_name = names.get(event.actor, "")  # type: ignore[attr-defined]


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
