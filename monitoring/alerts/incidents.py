"""Incidents: opened once, told once, acknowledged, reminded of, resolved. State and message are one transaction."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.db import transaction
from django.db.models import Q

from monitoring.alerts import maintenance, notices
from monitoring.clock import Mark
from monitoring.models import Incident, IncidentEvent, Target
from monitoring.querysets import IncidentQuerySet
from portal.notifications import Notice, in_portal_language, notify

Kind = IncidentEvent.Kind
# The timeline notes this many changes of the error.
MOST_CHANGES = 20


@dataclass(frozen=True)
class IncidentOpening:
    """An incident to open. If `is_muted`, no message is sent now."""

    subject: str
    rule: str
    target: Target | None = None
    error_kind: str = ""
    detail: str = ""
    facts: dict[str, Any] = field(default_factory=dict)
    is_muted: bool = False
    watched_until: datetime | None = None

    def build_incident(self, now: Mark) -> Incident:
        return Incident(
            subject=self.subject,
            rule=self.rule,
            target=self.target,
            opened_at=now.at,
            opened_boot=now.boot,
            opened_ticks=now.ticks,
            error_kind=self.error_kind,
            detail=self.detail,
            facts=self.facts,
            told_at=None if self.is_muted else now.at,
            watched_until=self.watched_until,
        )


def open_incidents(openings: Sequence[IncidentOpening], now: Mark) -> list[Incident]:
    """Open the incidents that are not open yet, notify, and return them. Takes a fixed number of queries."""
    if not openings:
        return []
    with transaction.atomic():
        Incident.objects.bulk_create([opening.build_incident(now) for opening in openings], ignore_conflicts=True)
        subjects = {opening.subject for opening in openings}
        # Incidents that were open already have other ticks.
        new = Incident.objects.open().filter(
            subject__in=subjects, opened_boot=now.boot, opened_ticks=now.ticks, opened_at=now.at
        )
        opened = list(new.select_related("target").order_by("pk"))
        add_events(opened, Kind.OPENED, now.at)
        add_events([incident for incident in opened if incident.told_at is None], Kind.SILENT, now.at, with_error=False)
        notify_each(notices.opening_notice, [incident for incident in opened if incident.told_at is not None])
        return opened


def resolve_incidents(incidents: Iterable[Incident], now: Mark, *, is_withdrawn: bool = False, actor: str = "") -> int:
    """Close those that are still open, notify if their opening was notified, and return their number."""
    chosen = [incident.pk for incident in incidents]
    if not chosen:
        return 0
    with transaction.atomic():
        # Read again, since a notice may have been sent meanwhile, and in one order for all, against deadlocks.
        still_open = Incident.objects.open().select_for_update(of=("self",)).filter(pk__in=chosen)
        closed = list(still_open.select_related("target").order_by("pk"))
        for incident in closed:
            incident.resolved_at, incident.duration = now.at, incident.opened.until(now)
            incident.is_withdrawn = is_withdrawn
            incident.save(update_fields=["resolved_at", "duration", "is_withdrawn"])
        kind = Kind.WITHDRAWN if is_withdrawn else Kind.RESOLVED
        add_events(closed, kind, now.at, actor=actor, with_error=False)
        notified = [incident for incident in closed if incident.told_at is not None]
        notify_each(notices.withdrawal_notice if is_withdrawn else notices.recovery_notice, notified)
    return len(closed)


def acknowledge_incidents(incidents: IncidentQuerySet, actor: str, now: datetime, comment: str = "") -> list[int]:
    """Stop the reminders of the open incidents. Return the keys of those that were not acknowledged before."""
    with transaction.atomic():
        chosen = list(incidents.values_list("pk", flat=True))
        waiting = Incident.objects.open().filter(pk__in=chosen, acknowledged_at=None)
        acknowledged = list(waiting.select_for_update().order_by("pk"))
        keys = [incident.pk for incident in acknowledged]
        waiting.filter(pk__in=keys).update(acknowledged_at=now, acknowledged_by=actor, comment=comment)
        add_events(acknowledged, Kind.ACKNOWLEDGED, now, actor=actor, text=comment, with_error=False)
    return keys


def unacknowledge_incidents(incidents: IncidentQuerySet, actor: str, now: datetime) -> list[int]:
    """Resume the reminders of the open incidents. Return the keys of those that were acknowledged."""
    with transaction.atomic():
        chosen = list(incidents.values_list("pk", flat=True))
        acknowledged = Incident.objects.open().filter(pk__in=chosen, acknowledged_at__isnull=False)
        found = list(acknowledged.select_for_update().order_by("pk"))
        keys = [incident.pk for incident in found]
        acknowledged.filter(pk__in=keys).update(acknowledged_at=None, acknowledged_by="", comment="")
        add_events(found, Kind.UNACKNOWLEDGED, now, actor=actor, with_error=False)
    return keys


def assign_incidents(incidents: Sequence[Incident], assignee: Any, actor: str, now: datetime) -> list[int]:
    """Assign them to a user, or to no one by None. Return the keys of those that were assigned otherwise."""
    changed = [incident for incident in incidents if incident.assignee_id != (assignee.pk if assignee else None)]
    keys = [incident.pk for incident in changed]
    with transaction.atomic():
        Incident.objects.filter(pk__in=keys).update(assignee=assignee)
        text = assignee.get_username() if assignee else ""
        add_events(changed, Kind.ASSIGNED, now, actor=actor, text=text, with_error=False)
    return keys


def note_cause(incidents: Sequence[Incident], text: str, actor: str, now: datetime) -> None:
    """Store the cause of these incidents in an operator's words. Earlier texts stay in the timeline."""
    with transaction.atomic():
        Incident.objects.filter(pk__in=[incident.pk for incident in incidents]).update(cause=text)
        add_events(incidents, Kind.NOTED, now, actor=actor, text=text, with_error=False)


def note_error_change(incident: Incident, error_kind: str, detail: str, at: datetime) -> None:
    """Note in the timeline that the target now fails with another error, at most MOST_CHANGES times."""
    changes = incident.facts.get("changes", 0)
    if changes >= MOST_CHANGES:
        return
    incident.facts["changes"] = changes + 1
    incident.save(update_fields=["facts"])
    IncidentEvent.objects.create(incident=incident, at=at, kind=Kind.CHANGED, error_kind=error_kind, detail=detail)


def add_events(
    incidents: Sequence[Incident], kind: str, at: datetime, *, actor: str = "", text: str = "", with_error: bool = True
) -> None:
    IncidentEvent.objects.bulk_create(
        IncidentEvent(
            incident=incident,
            at=at,
            kind=kind,
            error_kind=incident.error_kind if with_error else "",
            detail=incident.detail if with_error else "",
            actor=actor,
            text=text,
        )
        for incident in incidents
    )


def notify_each(build_notice: Callable[[Incident], Notice], incidents: Sequence[Incident]) -> None:
    if incidents:
        with in_portal_language():
            messages = [build_notice(incident) for incident in incidents]
        notify(*messages)


# --- Reminders -------------------------------------------------------------------------------------------------------


def send_reminders(now: Mark, keep_alive: Callable[[], None] = lambda: None) -> int:
    """Remind of incidents not acknowledged for INCIDENT_REMINDER_MINUTES, and notify those muted until now.

    Return the number of incidents. `keep_alive` is called after each.
    """
    covered = maintenance.active_maintenance(now.at)
    found = Incident.objects.open().filter(due_for_notice(now.at)).select_related("target").order_by("pk")
    count = 0
    for incident in found:
        if not is_muted(incident.target, covered, now.at):
            count += notify_again(incident, now)
            keep_alive()
    return count


def due_for_notice(now: datetime) -> Q:
    """Build the condition. Incidents of a killed ad-hoc watch are left out, since they are about to be withdrawn."""
    is_watched = Q(watched_until=None) | Q(watched_until__gte=now)
    long_ago = now - timedelta(minutes=settings.INCIDENT_REMINDER_MINUTES)
    is_forgotten = Q(reminded_at=None, told_at__lte=long_ago) | Q(reminded_at__lte=long_ago)
    return is_watched & (Q(told_at=None) | (is_forgotten & Q(acknowledged_at=None)))


def notify_again(incident: Incident, now: Mark) -> bool:
    """Claim the notice by a conditional UPDATE, so that two workers send one. Return whether it was sent."""
    is_first = incident.told_at is None
    with transaction.atomic():
        unchanged = Incident.objects.open().filter(
            pk=incident.pk, told_at=incident.told_at, reminders=incident.reminders
        )
        if is_first:
            won = unchanged.update(told_at=now.at)
        else:
            incident.reminders += 1
            won = unchanged.filter(acknowledged_at=None).update(reminded_at=now.at, reminders=incident.reminders)
        if won:
            add_events([incident], Kind.TOLD if is_first else Kind.REMINDED, now.at, with_error=False)
            notify_each(
                notices.opening_notice if is_first else lambda claimed: notices.reminder_notice(claimed, now),
                [incident],
            )
    return bool(won)


def is_muted(target: Target | None, covered: maintenance.MaintenanceScope, now: datetime) -> bool:
    """Return whether no message is sent: the target is silenced or under maintenance, or everything is."""
    if target is None:
        return covered.everything
    return target.is_silenced(now) or covered.includes(target.pk)
