"""Findings about running programmes."""

from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from typing import Any

from django.db.models import Count, DateTimeField, ExpressionWrapper, F, Max, Min, Q
from django.db.models.functions import Coalesce, Greatest
from django.urls import reverse
from django.utils import timezone
from django.utils.formats import date_format
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from beta.models import BetaFeedback, BetaProgramme, BetaSnapshot
from beta.report import wording
from beta.report.status import running_programmes
from beta.report.verdict import GO
from portal.base.findings import Finding, Severity, finding_sources, split_shown
from portal.base.moments import midnight
from portal.base.words import format_count

HIGH_FOR, UNRATED_FOR = timedelta(days=3), timedelta(days=2)
ENDS_SOON = timedelta(days=3)
BugSeverity = BetaFeedback.Severity


def list_url(model: str, **query: object) -> str:
    return reverse(f"admin:beta_{model}_changelist", query=query)


# --- Bugs ------------------------------------------------------------------------------------------------------------


@finding_sources.register
def waiting_bugs(now: datetime) -> Iterator[Finding]:
    """Yield bugs that wait, one finding for each severity of a programme, with one query."""
    running = BetaProgramme.objects.running(timezone.localdate(now))
    waiting = BetaFeedback.objects.bugs().unsettled().filter(programme__in=running).order_by("-programme")
    kinds = {
        "critical": (Q(severity=BugSeverity.CRITICAL), timedelta()),
        "high": (Q(severity=BugSeverity.HIGH, received_at__lt=now - HIGH_FOR), HIGH_FOR),
        "unrated": (Q(severity="", received_at__lt=now - UNRATED_FOR), UNRATED_FOR),
    }
    counts = {kind: Count("pk", filter=condition) for kind, (condition, _delay) in kinds.items()}
    moments = {
        f"{kind}_{name}": moment(waits_since(delay), filter=condition)
        for kind, (condition, delay) in kinds.items()
        for name, moment in (("since", Min), ("renewed_at", Max))
    }
    by_programme = waiting.values("programme", "programme__name").annotate(**counts, **moments)
    rows, has_others = split_shown(by_programme.filter(Q(critical__gt=0) | Q(high__gt=0) | Q(unrated__gt=0)))
    for row in rows:
        yield from bug_findings(row)
    if has_others:
        text = _("Bugs in other beta programmes are waiting.")
        yield Finding(Severity.WARNING, text, None, list_url("betafeedback", type="bug"), _("View bugs"))


def waits_since(delay: timedelta) -> Greatest:
    """Return when a bug became one of a finding: by its age, or later by triage."""
    overdue = ExpressionWrapper(F("received_at") + delay, DateTimeField())
    return Greatest(overdue, Coalesce("triaged_at", "received_at"))


def bug_findings(row: Mapping[str, Any]) -> Iterator[Finding]:
    texts = {
        "critical": ngettext(
            "%(count)s critical bug in %(programme)s is open.",
            "%(count)s critical bugs in %(programme)s are open.",
            row["critical"],
        ),
        "high": ngettext(
            "%(count)s high-severity bug in %(programme)s is still open.",
            "%(count)s high-severity bugs in %(programme)s are still open.",
            row["high"],
        ),
        "unrated": ngettext(
            "%(count)s bug in %(programme)s is waiting for triage.",
            "%(count)s bugs in %(programme)s are waiting for triage.",
            row["unrated"],
        ),
    }
    for kind, text in texts.items():
        if row[kind]:
            severity = Severity.INFO if kind == "unrated" else Severity.WARNING
            words = {"count": format_count(row[kind]), "programme": row["programme__name"]}
            action = _("View bugs in %(programme)s") % words
            since, url = row[f"{kind}_since"], bugs_url(row["programme"], kind)
            key, renewed_at = f"beta.bugs:{row['programme']}:{kind}", row[f"{kind}_renewed_at"]
            yield Finding(severity, text % words, since, url, action, key=key, renewed_at=renewed_at)


def bugs_url(programme: int, kind: str) -> str:
    severity = "none" if kind == "unrated" else kind
    return list_url("betafeedback", programme=programme, type="bug", severity=severity, status="unsettled")


# --- The end ---------------------------------------------------------------------------------------------------------


@finding_sources.register
def unready_programmes(now: datetime) -> Iterator[Finding]:
    """Yield programmes that end within three days without a GO. Their statuses are at most a minute old."""
    last = timezone.localdate(now) + ENDS_SOON
    unready = [
        (programme, programme.ends, status)
        for programme, status in running_programmes(now)
        if programme.ends is not None and programme.ends <= last and status.verdict != GO
    ]
    if not unready:
        return
    ready = BetaSnapshot.objects.filter(programme__in=[row[0] for row in unready], verdict=GO).order_by()
    last_ready = dict(ready.values_list("programme").annotate(Max("taken_at")))
    for programme, ends, status in unready:
        text = _("%(programme)s ends on %(day)s with the verdict %(verdict)s. %(reason)s")
        words = {
            "programme": programme.name,
            "day": date_format(ends, "MONTH_DAY_FORMAT"),
            "verdict": wording.verdict_label(status.verdict),
            "reason": wording.explain_verdict(status.conditions),
        }
        url = reverse("admin:beta_betaprogramme_change", args=[programme.pk])
        begins, action = midnight(ends - ENDS_SOON), _("View %(programme)s") % words
        since = max(begins, last_ready.get(programme.pk, begins))
        yield Finding(Severity.WARNING, text % words, since, url, action, key=f"beta.end:{programme.pk}")
