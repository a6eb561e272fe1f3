"""What about machines and tokens needs an operator now."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta

from django.db.models import F, Q
from django.urls import reverse
from django.utils.translation import gettext as _

from agents.approval import KEPT_FOR
from agents.models import Agent, EnrolmentRequest
from agents.panels import fleet_totals
from portal.base.findings import Finding, finding_sources
from portal.base.severity import Severity
from portal.base.words import format_count, format_relative
from portal.desk.history import describe_event
from portal.models import ApiToken, AuditEvent

# Offices switch their machines off at night, so late ones tell something only where most of the fleet is.
FEWEST_MACHINES = 5
LATE_SHARE = 0.8
LOST_SHARE = 0.1
EXPIRY_WARNING = timedelta(days=7)
COPIES_SHOWN_FOR = timedelta(days=7)
ISSUED_BY_PEOPLE = ~Q(kind=ApiToken.Kind.AGENT)
LOOP_COUNT = 100
REQUESTS = "admin:agents_enrolmentrequest"
# Of each kind of finding no more than this: the list behind it shows the rest.
SHOWN = 5


@finding_sources.register
def silent_machines(now: datetime) -> Iterator[Finding]:
    totals = fleet_totals(now)
    active = totals["active"]
    if active < FEWEST_MACHINES:
        return
    lost, late = totals["lost"], totals["late"]
    if lost > LOST_SHARE * active:
        text = _("%(count)s of %(active)s active machines are lost: nothing was heard of them for weeks.")
        yield silent(Severity.WARNING, text, "lost", lost, active)
    if late > LATE_SHARE * active:
        text = _("%(count)s of %(active)s active machines are late: the portal may be out of their reach.")
        yield silent(Severity.CRITICAL, text, "late", late, active)


def silent(severity: Severity, text: str, liveness: str, count: int, active: int) -> Finding:
    return Finding(
        severity,
        text % {"count": format_count(count), "active": format_count(active)},
        url=reverse("admin:agents_agent_changelist", query={"liveness": liveness}),
        action=_("See them"),
    )


@finding_sources.register
def shared_names(now: datetime) -> Iterator[Finding]:
    """Machines enrolled under another spelling of a name before names were compared without case."""
    others = Agent.objects.active().filter(owns_name=False).order_by("-id")[:SHOWN]
    for other in others:
        owner = Agent.objects.named(other.machine_id).get()
        text = _("%(other)s and %(owner)s are one name, which now means %(owner)s. Uninstall the one you don’t need.")
        yield Finding(
            Severity.WARNING,
            text % {"other": other.machine_id, "owner": owner.machine_id},
            since=other.enrolled_at,
            url=reverse("admin:agents_agent_change", args=[other.pk]),
            action=_("View machine"),
        )


@finding_sources.register
def copied_machines(now: datetime) -> Iterator[Finding]:
    """Computers that share one identity, as the copies of a disk do."""
    turns = AuditEvent.objects.filter(action="agent.renamed", count__gt=1, at__gte=now - timedelta(hours=3))
    text = _(
        "%(machine)s reports the host names %(names)s in turn: computers share its token. Delete the token store on "
        "all but one, and enrol them again."
    )
    by_machine = {event.subject: event for event in turns.order_by("count")}
    for event in list(by_machine.values())[:SHOWN]:
        names = sorted({str(values["hostname"]) for values in (event.before, event.after)})
        yield about_machine(event, text, names=", ".join(names))
    elsewhere = AuditEvent.objects.filter(action="agent.replayed_elsewhere", at__gte=now - COPIES_SHOWN_FOR)
    text = _(
        "%(machine)s was enrolled and, before its first call, was given its token once more under another host name. "
        "If that was a copy of its disk, enrol the copy under a name of its own."
    )
    for event in elsewhere.order_by("-at")[:SHOWN]:
        yield about_machine(event, text)


def about_machine(event: AuditEvent, text: str, **more: str) -> Finding:
    machine_id = event.subject.removeprefix("agent:")
    return Finding(
        Severity.WARNING,
        text % {"machine": machine_id, **more},
        since=event.at,
        url=reverse("admin:agents_agent_changelist", query={"q": machine_id}),
        action=_("View machine"),
    )


@finding_sources.register
def waiting_enrolments(now: datetime) -> Iterator[Finding]:
    """Requests by tokens that still work: revoking the token is an answer too."""
    usable = ApiToken.objects.usable(now)
    waiting = EnrolmentRequest.objects.waiting(now).filter(last_asked_at__gt=now - KEPT_FOR, token__in=usable)
    found = list(waiting.order_by("-last_asked_at").select_related("token")[: SHOWN + 1])
    text = _(
        "%(machine)s asks to be enrolled with the token “%(token)s” from %(address)s. Allow it only if you expect this "
        "installation: the machine enrolled as %(machine)s can upload its backups."
    )
    for asked in found[:SHOWN]:
        words = {"machine": asked.machine_id, "token": asked.token.name, "address": asked.address}
        yield Finding(
            Severity.WARNING,
            text % words,
            since=asked.asked_at,
            url=reverse(f"{REQUESTS}_act", args=[asked.pk, "allow_enrolment"]),
            action=_("Allow for 15 minutes"),
            permission="agents.change_enrolmentrequest",
        )
    if len(found) > SHOWN:
        more = _("More machines ask to be enrolled.")
        yield Finding(Severity.WARNING, more, url=reverse(f"{REQUESTS}_changelist"), action=_("View requests"))


@finding_sources.register
def ending_tokens(now: datetime) -> Iterator[Finding]:
    """Tokens that people issued and that stop working soon; one issued for a few days was meant to.

    A machine's token ends whenever it is rotated.
    """
    lasting = Q(created_at__lt=F("expires_at") - EXPIRY_WARNING)
    soon = lasting & Q(expires_at__gt=now, expires_at__lte=now + EXPIRY_WARNING)
    for token in ApiToken.objects.filter(soon, ISSUED_BY_PEOPLE, revoked_at=None).order_by("expires_at")[:SHOWN]:
        expires_at = token.expires_at or now
        text = _("The token “%(label)s” (%(kind)s) expires %(when)s.")
        yield about_token(
            token, Severity.WARNING, text, expires_at - EXPIRY_WARNING, when=format_relative(expires_at, now)
        )


@finding_sources.register
def exhausted_tokens(now: datetime) -> Iterator[Finding]:
    """Enrolment tokens for several machines with no use left; one for a single machine has simply done its work."""
    several = ApiToken.objects.usable(now).filter(kind=ApiToken.Kind.ENROLL, max_uses__gt=1)
    for token in several.filter(uses__gte=F("max_uses")).order_by("-id")[:SHOWN]:
        text = _("The token “%(label)s” (%(kind)s) has no uses left: revoke it, or issue another.")
        yield about_token(token, Severity.INFO, text, token.last_used_at)


def about_token(token: ApiToken, severity: Severity, text: str, since: datetime | None, **more: str) -> Finding:
    return Finding(
        severity,
        text % {"label": token.name, "kind": token.get_kind_display(), **more},
        since=since,
        url=reverse("admin:portal_apitoken_change", args=[token.pk]),
        action=_("See the token"),
    )


@finding_sources.register
def looping_clients(now: datetime) -> Iterator[Finding]:
    """Callers refused again and again. A row counts the refusals of one hour, so it began in this hour or the last."""
    recent = AuditEvent.objects.filter(at__gte=now - timedelta(hours=2), last_at__gte=now - timedelta(hours=1))
    looping = recent.filter(action__startswith="refused.", count__gt=LOOP_COUNT).order_by("-count")[:SHOWN]
    for event in looping:
        yield Finding(
            Severity.WARNING,
            _("%(who)s from %(address)s is in a loop. %(sentence)s.")
            % {"who": event.subject or event.actor, "address": event.address, "sentence": describe_event(event)},
            since=event.at,
            url=reverse("admin:portal_auditevent_change", args=[event.pk]),
            action=_("See the refusals"),
        )
