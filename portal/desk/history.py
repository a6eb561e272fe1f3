"""The history section of a page: its audit events in words."""

from typing import Any

from django.urls import reverse
from django.utils.translation import gettext as _

from portal.audit import EVENT_TEXTS
from portal.desk.panels import Section
from portal.models import AuditEvent

SHOWN = 50


def describe_event(event: AuditEvent) -> str:
    """Return the event's action in words, or the action's name if it has no text."""
    text = str(EVENT_TEXTS.get(event.action, event.action))
    return text if event.count == 1 else _("%(sentence)s (%(count)s times)") % {"sentence": text, "count": event.count}


def describe_changes(event: AuditEvent) -> str:
    """`version: 1.4.2 → 1.4.3, reason: replaced`."""
    before, after = (value if isinstance(value, dict) else {} for value in (event.before, event.after))
    changes = ((name, before.get(name), value) for name, value in after.items())
    return ", ".join(f"{name}: {describe_change(was, value)}" for name, was, value in changes if value != "" or was)


def describe_change(before: Any, after: Any) -> str:
    if before in (None, ""):
        return f"{after}"
    return f"{before} → {'–' if after in (None, '') else after}"


def history_section(subject: str) -> Section:
    """Return the newest events about the subject."""
    events = AuditEvent.objects.filter(subject=subject).order_by("-id")[:SHOWN]
    return Section(
        title=_("History"),
        columns=[_("When"), _("What"), _("Details"), _("Who"), _("From")],
        rows=[
            [event.last_at, describe_event(event), describe_changes(event), event.actor, event.address]
            for event in events
        ],
        url=reverse("admin:portal_auditevent_changelist", query={"q": subject}),
        empty=_("Nothing is on record."),
    )
