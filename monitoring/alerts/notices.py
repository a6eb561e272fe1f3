"""Notices of an incident: opening, reminder, recovery with its duration, withdrawal."""

from contextlib import suppress
from datetime import datetime, timedelta
from typing import Any

from django.urls import reverse
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from monitoring.clock import Mark
from monitoring.error_texts import describe_error
from monitoring.models import Incident
from portal.base.words import format_moment, format_short_day, format_span, round_to_integer
from portal.notifications import Notice
from portal.notifications.notices import State

Rule = Incident.Rule
MOST_LISTED = 10


def opening_notice(incident: Incident) -> Notice:
    return build_notice(
        incident,
        "opened",
        State.OPENED,
        incident_headline(incident),
        join_lines(incident_reason(incident), opened_line(incident)),
    )


def reminder_notice(incident: Incident, now: Mark) -> Notice:
    """Build a reminder. Its number is part of the deduplication key, so that each is sent once."""
    title = _("Still open: %(what)s") % {"what": incident_headline(incident)}
    lasting = _("Open for %(time)s and unacknowledged.") % {"time": format_span(incident.opened.until(now))}
    return build_notice(
        incident,
        f"reminder:{incident.reminders}",
        State.NOTE,
        title,
        join_lines(incident_reason(incident), opened_line(incident), lasting),
    )


def recovery_notice(incident: Incident) -> Notice:
    title = recovery_headline(incident) % {
        "name": incident.name,
        "time": format_span(incident.duration or timedelta(0)),
    }
    cause = incident_reason(incident)
    if incident.rule != Rule.OFFLINE:
        cause = _("Cause: %(reason)s") % {"reason": cause}
    return build_notice(incident, "resolved", State.CLOSED, title, join_lines(cause, opened_line(incident)))


def withdrawal_notice(incident: Incident) -> Notice:
    title = _("Monitoring stopped: %(what)s") % {"what": incident_headline(incident)}
    return build_notice(incident, "resolved", State.CLOSED, title, join_lines(opened_line(incident)))


def build_notice(incident: Incident, what: str, state: State, title: str, text: str) -> Notice:
    return Notice(
        subject=f"incident:{incident.pk}",
        severity=incident.severity,
        title=title,
        text=text,
        dedupe_key=f"incident:{incident.pk}:{what}",
        state=state,
        path=reverse("admin:monitoring_incident_change", args=[incident.pk]),
    )


def join_lines(*parts: str) -> str:
    return "\n".join(part for part in parts if part)


# --- Words -----------------------------------------------------------------------------------------------------------


def incident_headline(incident: Incident) -> str:
    if incident.rule == Rule.OFFLINE and incident.error_kind:
        return _("The portal can’t resolve host names")
    if incident.rule == Rule.CERTIFICATE:
        return certificate_headline(incident)
    texts = {
        Rule.UNAVAILABLE: _("%(name)s is down"),
        Rule.UNSTABLE: _("%(name)s is unstable"),
        Rule.SLOW: _("%(name)s is slow"),
        Rule.FLEET_ERRORS: _("%(name)s: high error rate"),
        Rule.FLEET_LATENCY: _("%(name)s: slow responses"),
        Rule.OFFLINE: _("The portal is offline"),
    }
    return texts[Rule(incident.rule)] % {"name": incident.name}


def certificate_headline(incident: Incident) -> str:
    """Say when the certificate expires, or that it has by the time of the incident."""
    until = parse_moment(incident.facts.get("until", ""))
    text = _("%(name)s: certificate expires on %(day)s")
    if until is None:
        text = _("%(name)s: certificate expires soon")
    elif until <= incident.opened_at:
        text = _("%(name)s: certificate expired on %(day)s")
    day = format_short_day(timezone.localdate(until)) if until else ""
    return text % {"name": incident.name, "day": day}


def recovery_headline(incident: Incident) -> str:
    """Return the title of a recovery, with placeholders for `name` and `time`."""
    if incident.rule == Rule.OFFLINE and incident.error_kind:
        return _("The portal resolves host names again after %(time)s")
    return {
        Rule.UNAVAILABLE: _("%(name)s recovered after %(time)s"),
        Rule.UNSTABLE: _("%(name)s is stable again after %(time)s"),
        Rule.SLOW: _("%(name)s: response time back to normal after %(time)s"),
        Rule.CERTIFICATE: _("%(name)s: certificate renewed"),
        Rule.FLEET_ERRORS: _("%(name)s: check errors back to normal after %(time)s"),
        Rule.FLEET_LATENCY: _("%(name)s: response times back to normal after %(time)s"),
        Rule.OFFLINE: _("The portal is online again after %(time)s"),
    }[Rule(incident.rule)]


def incident_reason(incident: Incident) -> str:
    """Explain the incident in one sentence or a few lines."""
    facts = incident.facts
    match incident.rule:
        case Rule.UNAVAILABLE:
            return describe_error(incident.error_kind, incident.detail)
        case Rule.UNSTABLE:
            share = _("%(failures)d of the last %(checks)d checks failed.") % facts
            return f"{share} {describe_error(incident.error_kind, incident.detail)}"
        case Rule.SLOW:
            words = {"latency": round_to_integer(facts.get("latency_ms") or 0), "limit": facts.get("limit_ms") or 0}
            return _("The response took %(latency)d ms; the limit is %(limit)d ms.") % words
        case Rule.CERTIFICATE:
            return _("Valid until %(moment)s.") % {"moment": format_iso_moment(facts.get("until", ""))}
        case Rule.FLEET_ERRORS:
            return fleet_failures(facts)
        case Rule.FLEET_LATENCY:
            return _("The p95 response time was %(p95)d ms in the last round.") % {
                "p95": round_to_integer(facts.get("p95_ms") or 0)
            }
    return _("Failures during this time don’t count.")


def fleet_failures(facts: dict[str, Any]) -> str:
    """List the share of failed checks, and each failing target with its error."""
    names = [failing_target(item) for item in facts.get("failing", ())]
    share = _("%(failures)d of %(checks)d checks failed in the last round.") % {
        "failures": facts.get("failures", 0),
        "checks": facts.get("checks", 0),
    }
    more = len(names) - MOST_LISTED
    listed = [f"– {name}" for name in names[:MOST_LISTED]]
    if more > 0:
        listed.append(ngettext("and %(count)d more", "and %(count)d more", more) % {"count": more})
    return "\n".join([share, *listed])


def failing_target(item: Any) -> str:
    """Return a line such as `API: It answered 503`. Incidents of former versions hold the name alone."""
    if isinstance(item, str):
        return item
    name, error_kind, detail = item
    return _("%(name)s: %(error)s") % {"name": name, "error": describe_error(error_kind, detail).rstrip(".")}


def opened_line(incident: Incident) -> str:
    return _("Since %(moment)s.") % {"moment": format_moment(incident.opened_at)}


def parse_moment(text: str) -> datetime | None:
    """Return the moment that an incident stored, or None for anything else."""
    with suppress(ValueError):
        moment = datetime.fromisoformat(text)
        return moment if moment.tzinfo else None
    return None


def format_iso_moment(text: str) -> str:
    moment = parse_moment(text)
    return format_moment(moment) if moment else text
