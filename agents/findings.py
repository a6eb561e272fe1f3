"""Findings about machines and tokens."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.db.models import F
from django.urls import reverse
from django.utils.translation import gettext as _

from agents.approval import KEPT_FOR
from agents.models import Agent, EnrolmentRequest
from agents.panels import fleet_totals
from portal.base.findings import SHOWN, Finding, Severity, count_finding, finding_sources, split_shown
from portal.base.words import format_count, format_relative
from portal.desk.history import describe_event, describe_subject
from portal.models import ApiToken, AuditEvent

# Offices switch their machines off at night, so late machines matter only if most of the fleet is late.
FEWEST_MACHINES = 5
LATE_SHARE = 0.8
LOST_SHARE = 0.1
EXPIRY_WARNING = timedelta(days=7)
COPIES_SHOWN_FOR = timedelta(days=7)
LOOP_COUNT = 100
REQUESTS = "admin:agents_enrolmentrequest"


@finding_sources.register
def late_and_lost_machines(now: datetime) -> Iterator[Finding]:
    totals = fleet_totals(now)
    active = totals["active"]
    if active < FEWEST_MACHINES:
        return
    days = settings.AGENT_LOST_DAYS
    lost = _("%(count)s of %(active)s active machines are gone: not seen for %(days)s days or more.")
    late = _("%(count)s of %(active)s active machines are late. Check whether they can reach the portal.")
    for liveness, share, severity, text, action in (
        ("lost", LOST_SHARE, Severity.WARNING, lost, _("View gone machines")),
        ("late", LATE_SHARE, Severity.CRITICAL, late, _("View late machines")),
    ):
        if totals[liveness] > share * active:
            url = reverse("admin:agents_agent_changelist", query={"liveness": liveness})
            words: dict[str, Any] = {"active": format_count(active), "days": days}
            yield count_finding(severity, text, totals[liveness], url=url, action=action, **words)


@finding_sources.register
def shared_names(now: datetime) -> Iterator[Finding]:
    """Report active machines whose name, ignoring case, belongs to another one."""
    others = Agent.objects.active().filter(owns_name=False).order_by("-id")[:SHOWN]
    for other in others:
        owner = Agent.objects.named(other.machine_id).get()
        text = _(
            "%(other)s and %(owner)s have the same name, which now means %(owner)s. Uninstall the one you don’t need."
        )
        yield Finding(
            Severity.WARNING,
            text % {"other": other.machine_id, "owner": owner.machine_id},
            since=max(other.enrolled_at, owner.enrolled_at),
            url=reverse("admin:agents_agent_change", args=[other.pk]),
            action=_("View machine"),
            key=f"agents.name:{other.pk}:{owner.pk}",
        )


@finding_sources.register
def copied_machines(now: datetime) -> Iterator[Finding]:
    """Report computers that share one identity, as copies of a disk do: they rename the machine back and forth."""
    renamed = AuditEvent.objects.filter(action="agent.renamed", count__gt=1, at__gte=now - timedelta(hours=3))
    text = _(
        "%(machine)s alternates between the host names %(names)s: several computers share its token. Delete the token "
        "store on all but one and enrol them again."
    )
    by_machine = {event.subject: event for event in renamed.order_by("count")}
    for event in list(by_machine.values())[:SHOWN]:
        names = sorted({str(values["hostname"]) for values in (event.before, event.after)})
        yield machine_finding(event, text, names=", ".join(names))
    elsewhere = AuditEvent.objects.filter(action="agent.replayed_elsewhere", at__gte=now - COPIES_SHOWN_FOR)
    text = _(
        "%(machine)s enrolled twice before its first call, the second time under another host name. If that was a copy "
        "of its disk, enrol the copy under its own name."
    )
    for event in elsewhere.order_by("-at")[:SHOWN]:
        yield machine_finding(event, text)


def machine_finding(event: AuditEvent, text: str, **more: str) -> Finding:
    machine_id = event.subject.removeprefix("agent:")
    return Finding(
        Severity.WARNING,
        text % {"machine": machine_id, **more},
        since=event.at,
        url=reverse("admin:agents_agent_changelist", query={"q": machine_id}),
        action=_("View machine"),
        key=f"agents.copies:{event.pk}",
    )


@finding_sources.register
def waiting_enrolments(now: datetime) -> Iterator[Finding]:
    """Report enrolment requests whose token is still usable: revoking the token settles a request too."""
    usable = ApiToken.objects.usable(now)
    waiting = EnrolmentRequest.objects.waiting(now).filter(last_asked_at__gt=now - KEPT_FOR, token__in=usable)
    requests, has_others = split_shown(waiting.order_by("-last_asked_at").select_related("token"))
    text = _(
        "%(machine)s requests enrolment with the token “%(token)s” from %(address)s. Allow it only if you expect this "
        "installation: the machine enrolled as %(machine)s can upload its backups."
    )
    for request in requests:
        values = {"machine": request.machine_id, "token": request.token.name, "address": request.address}
        yield Finding(
            Severity.WARNING,
            text % values,
            since=request.asked_at,
            url=reverse(f"{REQUESTS}_act", args=[request.pk, "allow_enrolment"]),
            action=_("Allow enrolment (15 min)"),
            permission="agents.change_enrolmentrequest",
            key=f"agents.request:{request.pk}",
        )
    if has_others:
        more = _("More machines request enrolment.")
        yield Finding(Severity.WARNING, more, url=reverse(f"{REQUESTS}_changelist"), action=_("View requests"))


@finding_sources.register
def expiring_tokens(now: datetime) -> Iterator[Finding]:
    """Report tokens issued by people that expire soon.

    Tokens issued for a few days are left out, and so are machines' tokens, which expire at each rotation.
    """
    long_lived = ApiToken.objects.filter(created_at__lt=F("expires_at") - EXPIRY_WARNING, revoked_at=None)
    expiring = long_lived.filter(expires_at__gt=now, expires_at__lte=now + EXPIRY_WARNING)
    for token in expiring.exclude(kind=ApiToken.Kind.AGENT).order_by("expires_at")[:SHOWN]:
        expires_at = token.expires_at or now
        text = _("The token “%(label)s” (%(kind)s) expires %(when)s.")
        since, when = expires_at - EXPIRY_WARNING, format_relative(expires_at, now)
        yield token_finding(token, Severity.WARNING, text, "expiring", since, when=when)


@finding_sources.register
def exhausted_tokens(now: datetime) -> Iterator[Finding]:
    """Report used-up enrolment tokens, except those for a single machine, which have done their work."""
    several = ApiToken.objects.usable(now).filter(kind=ApiToken.Kind.ENROLL, max_uses__gt=1)
    for token in several.filter(uses__gte=F("max_uses")).order_by("-id")[:SHOWN]:
        text = _("The token “%(label)s” (%(kind)s) is used up. Revoke it or issue another.")
        yield token_finding(token, Severity.INFO, text, "used-up", token.last_used_at)


def token_finding(
    token: ApiToken, severity: Severity, text: str, kind: str, since: datetime | None, **more: str
) -> Finding:
    return Finding(
        severity,
        text % {"label": token.name, "kind": token.get_kind_display(), **more},
        since=since,
        url=reverse("admin:portal_apitoken_change", args=[token.pk]),
        action=_("View token"),
        key=f"agents.token.{kind}:{token.pk}",
    )


@finding_sources.register
def looping_clients(now: datetime) -> Iterator[Finding]:
    """Report callers that are refused again and again. An audit row counts the refusals of an hour."""
    recent = AuditEvent.objects.filter(at__gte=now - timedelta(hours=2), last_at__gte=now - timedelta(hours=1))
    looping = recent.filter(action__startswith="refused.", count__gt=LOOP_COUNT).order_by("-count")[:SHOWN]
    for event in looping:
        yield Finding(
            Severity.WARNING,
            _("%(who)s at %(address)s repeats a failing request. %(sentence)s.")
            % {
                "who": describe_subject(event.subject or event.actor),
                "address": event.address,
                "sentence": describe_event(event),
            },
            since=event.at,
            url=reverse("admin:portal_auditevent_change", args=[event.pk]),
            action=_("View denied requests"),
            key=f"agents.denied:{event.pk}",
        )
