"""Findings about services and about watching them, for the landing page."""

from collections.abc import Iterator
from datetime import datetime, timedelta

from django.db.models import Case, Count, Exists, Max, Min, OuterRef, Q, QuerySet, Value, When
from django.urls import reverse
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from monitoring.alerts import maintenance
from monitoring.alerts.notices import incident_headline, incident_reason
from monitoring.checks.worker_rounds import HEARTBEAT
from monitoring.models import Incident, MaintenanceWindow, Round, Target
from monitoring.models.targets import OVERDUE
from portal.base.findings import Finding, Severity, count_finding, finding_sources, split_shown
from portal.base.words import format_moment
from portal.models import Heartbeat

# A watcher sends a heartbeat every five seconds, and a dead one is replaced within twenty.
UNWATCHED = timedelta(seconds=30)
# Certificates are looked at even if the target sets no warning of its own.
CERTIFICATE_SOON = timedelta(days=14)
LONG = timedelta(days=30)
MAINTENANCE_LONG = timedelta(days=1)
MOST_WINDOWS = 50
MOST_ACKNOWLEDGED = 20
ROUNDS_LOOKED_AT, ROUNDS_RECENT = 15, timedelta(minutes=15)
Rule = Incident.Rule


def admin_list_url(model: str, **query: str) -> str:
    return reverse(f"admin:monitoring_{model}_changelist", query=query)


def target_finding(target: Target, severity: Severity, text: str, since: datetime | None) -> Finding:
    url = reverse("admin:monitoring_target_change", args=[target.pk])
    return Finding(severity, text, since, url, _("View target"))


# --- Incidents -------------------------------------------------------------------------------------------------------


@finding_sources.register
def unattended_incidents(now: datetime) -> Iterator[Finding]:
    """Report incidents nobody has acknowledged: the worst and oldest one by one, the others in one sentence."""
    unattended = Incident.objects.open().filter(acknowledged_at=None)
    severity = Case(
        When(rule__in=Incident.CRITICAL_RULES, then=Value(Severity.CRITICAL)), default=Value(Severity.WARNING)
    )
    worst, has_others = split_shown(unattended.select_related("target").order_by(severity, "id"))
    yield from map(incident_finding, worst)
    if has_others:
        yield other_incidents(unattended.exclude(pk__in=[incident.pk for incident in worst]))


def in_one_line(text: str) -> str:
    """Join the first line of a text and the items it lists."""
    first, *listed = text.splitlines() or [""]
    return " ".join([first, ", ".join(line.removeprefix("– ") for line in listed)]).strip()


@finding_sources.register
def acknowledged_incidents(now: datetime) -> Iterator[Finding]:
    """Report the incidents that someone has taken on. The incident itself says who, and with which comment."""
    acknowledged = Incident.objects.open().exclude(acknowledged_at=None).select_related("target", "assignee")
    newest = list(acknowledged.order_by("-id")[: MOST_ACKNOWLEDGED + 1])
    yield from map(incident_finding, newest[:MOST_ACKNOWLEDGED])
    if len(newest) > MOST_ACKNOWLEDGED:
        count = acknowledged.count() - MOST_ACKNOWLEDGED
        text = ngettext("%(count)s more incident is acknowledged.", "%(count)s more incidents are acknowledged.", count)
        yield count_finding(Severity.INFO, text, count, url=admin_list_url("incident", state="acknowledged"))


def incident_finding(incident: Incident) -> Finding:
    # A headline may end with an abbreviated month, which brings its own full stop.
    text = f"{incident_headline(incident).rstrip('.')}. {in_one_line(incident_reason(incident))}".strip()
    url = reverse("admin:monitoring_incident_change", args=[incident.pk])
    acknowledgement = incident if incident.acknowledged_at else None
    return Finding(
        incident.severity, text, incident.opened_at, url, _("View incident"), acknowledgement=acknowledgement
    )


def other_incidents(incidents: QuerySet[Incident]) -> Finding:
    """Report incidents together, as severe as the worst of them."""
    others = incidents.aggregate(
        count=Count("pk"), since=Min("opened_at"), critical=Count("pk", filter=Q(rule__in=Incident.CRITICAL_RULES))
    )
    count = others["count"]
    text = ngettext(
        "%(count)s more incident is unacknowledged.",
        "%(count)s more incidents are unacknowledged.",
        count,
    )
    severity = Severity.CRITICAL if others["critical"] else Severity.WARNING
    return count_finding(severity, text, count, others["since"], admin_list_url("incident", state="new"))


# --- Targets ---------------------------------------------------------------------------------------------------------


@finding_sources.register
def ending_certificates(now: datetime) -> Iterator[Finding]:
    """Report certificates that end soon without an incident, since the target sets no warning, or a later one."""
    told = Incident.objects.open().filter(target=OuterRef("pk"), rule=Rule.CERTIFICATE)
    ending = Target.objects.active().filter(~Exists(told), certificate_until__lt=now + CERTIFICATE_SOON)
    targets, has_others = split_shown(ending.order_by("certificate_until"))
    for target in targets:
        until = target.certificate_until or now
        text = _("%(target)s: certificate expires on %(moment)s.")
        if until <= now:
            text = _("%(target)s: certificate expired on %(moment)s.")
        words = {"target": target.name, "moment": format_moment(until)}
        yield target_finding(target, Severity.WARNING, text % words, None)
    if has_others:
        text = _("The certificates of more targets expire soon.")
        yield Finding(Severity.WARNING, text, None, admin_list_url("target"), _("View targets"))


@finding_sources.register
def unwatched_targets(now: datetime) -> Iterator[Finding]:
    """Report that nothing is checked though something is due, or targets that were never checked though others are."""
    overdue = Q(next_check_at__lt=now - OVERDUE)
    found = Target.objects.active().aggregate(
        overdue=Count("pk", filter=overdue),
        never=Count("pk", filter=overdue & Q(last_check_at=None)),
        newest=Max("last_check_at"),
        due=Min("next_check_at"),
    )
    since = found["newest"] or found["due"]
    watched_at = Heartbeat.objects.filter(component=HEARTBEAT).values_list("at", flat=True).first()
    if found["due"] and watched_at and max(watched_at, found["due"]) < now - UNWATCHED:
        text = _("Targets are not being checked: service status is unknown.")
        yield Finding(Severity.CRITICAL, text, watched_at, admin_list_url("target"), _("View targets"))
    elif found["overdue"] and since < now - OVERDUE:
        text = _("Nothing has been checked for more than 5 minutes: service status is unknown.")
        yield Finding(Severity.CRITICAL, text, since, admin_list_url("target"), _("View targets"))
    elif found["never"]:
        text = ngettext(
            "%(count)s target has never been checked, although others are.",
            "%(count)s targets have never been checked, although others are.",
            found["never"],
        )
        url = admin_list_url("target", state=Target.State.UNKNOWN)
        yield count_finding(Severity.WARNING, text, found["never"], found["due"], url)


@finding_sources.register
def forgotten_targets(now: datetime) -> Iterator[Finding]:
    """Report targets silenced or paused for long. `state_since` of a paused target is when it was paused."""
    found = Target.objects.aggregate(
        silenced=Count("pk", filter=Q(silenced_until__gt=now + LONG, is_active=True)),
        paused=Count("pk", filter=Q(is_active=False, state_since__lt=now - LONG)),
        since=Min("state_since", filter=Q(is_active=False, state_since__lt=now - LONG)),
    )
    if found["silenced"]:
        text = ngettext(
            "%(count)s target is silenced for more than 30 days: its incidents send no alerts.",
            "%(count)s targets are silenced for more than 30 days: their incidents send no alerts.",
            found["silenced"],
        )
        url = admin_list_url("target", standing="silenced")
        yield count_finding(Severity.INFO, text, found["silenced"], url=url)
    if found["paused"]:
        text = ngettext(
            "%(count)s target has been paused for more than 30 days and is not monitored.",
            "%(count)s targets have been paused for more than 30 days and are not monitored.",
            found["paused"],
        )
        url = admin_list_url("target", standing="paused")
        yield count_finding(Severity.INFO, text, found["paused"], found["since"], url)


# --- Watching itself -------------------------------------------------------------------------------------------------


@finding_sources.register
def offline_portal(now: datetime) -> Iterator[Finding]:
    """Report an offline portal by its newest rounds, unless an incident does, or the network was never reached."""
    rounds = list(Round.objects.latest_first()[:ROUNDS_LOOKED_AT])
    if not rounds or rounds[0].is_online is not False or rounds[0].finished_at < now - ROUNDS_RECENT:
        return
    last_reached = next((found for found in rounds if found.is_online), None)
    if last_reached is None or Incident.objects.open().filter(rule=Rule.OFFLINE).exists():
        return
    text = _("The portal is offline. Failures during this time don’t count.")
    yield Finding(Severity.WARNING, text, last_reached.finished_at, admin_list_url("round"), _("View rounds"))


@finding_sources.register
def endless_maintenance(now: datetime) -> Iterator[Finding]:
    """Report maintenance of everything for more than a day, during which no message is sent."""
    of_everything = MaintenanceWindow.objects.relevant(now).filter(targets=None).order_by("id")
    for window in of_everything[:MOST_WINDOWS]:
        since = maintenance.active_since(window, now) if window.length > MAINTENANCE_LONG else None
        if since is not None:
            text = _("The maintenance “%(name)s” covers all targets for more than a day: no alerts are sent.")
            url = reverse("admin:monitoring_maintenancewindow_change", args=[window.pk])
            key = f"monitoring.maintenance:{window.pk}"
            yield Finding(Severity.WARNING, text % {"name": window.name}, since, url, _("View maintenance"), key=key)
            return
