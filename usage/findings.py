"""Findings about licences, runs and tracking."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

from django.db.models import Count, Max, Min, Q, Sum
from django.db.models.functions import TruncDay
from django.urls import reverse
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from portal.base.findings import SHOWN, Finding, Severity, finding_sources
from portal.base.words import format_count
from portal.desk.history import describe_subject
from portal.desk.models import VALID_FOR
from portal.models import AuditEvent
from usage.models import Licence, RollupProgress, Run, TrackingWriter
from usage.models.runs import MOST_PLAUSIBLE_PAGES
from usage.quotas import UNNAMED, near_quota, over_quota

BEHIND = timedelta(minutes=10)
DROPPED_SHOWN = timedelta(days=1)
IMPLAUSIBLE_SHOWN = timedelta(days=7)
REFUSED_SHOWN = timedelta(days=1)
# Longer than an acknowledgement is valid, which a streak begun before it must not lapse.
LONGEST_STREAK = VALID_FOR + REFUSED_SHOWN


def licence_list_url(**query: str) -> str:
    return reverse("admin:usage_licence_changelist", query=query)


@finding_sources.register
def licence_quotas(now: datetime) -> Iterator[Finding]:
    """Report licences over quota one by one, and count those near it and those without a customer."""
    counts = Licence.objects.aggregate(
        over=Count("pk", filter=over_quota(now)),
        near=Count("pk", filter=near_quota(now)),
        anonymous=Count("pk", filter=UNNAMED),
        since=Min("first_seen_at", filter=UNNAMED),
    )
    if counts["over"]:
        yield from licences_over_quota(now, counts["over"] - SHOWN)
    if counts["near"]:
        text = ngettext(
            "%(count)s licence has used 80 %% of its quota or more.",
            "%(count)s licences have used 80 %% of their quota or more.",
            counts["near"],
        )
        text = text % {"count": format_count(counts["near"])}
        yield Finding(Severity.INFO, text, None, licence_list_url(standing="near"), _("View licences near their quota"))
    if counts["anonymous"]:
        text = ngettext(
            "%(count)s licence has no customer assigned.",
            "%(count)s licences have no customer assigned.",
            counts["anonymous"],
        )
        text = text % {"count": format_count(counts["anonymous"])}
        url = licence_list_url(customer="unnamed")
        yield Finding(Severity.INFO, text, counts["since"], url, _("View licences without a customer"))


def licences_over_quota(now: datetime, others: int) -> Iterator[Finding]:
    for licence in Licence.objects.filter(over_quota(now)).order_by("ref")[:SHOWN]:
        text = _("%(licence)s has used all %(quota)s pages of this month’s quota.")
        values = {"licence": licence, "quota": format_count(licence.monthly_page_quota or 0)}
        url = reverse("admin:usage_licence_change", args=[licence.pk])
        action = _("View %(licence)s") % {"licence": licence.ref}
        # Another quota is another finding.
        key = f"usage.licence:{licence.pk}:{licence.monthly_page_quota}"
        yield Finding(Severity.WARNING, text % values, licence.exceeded_since, url, action, key=key)
    if others > 0:
        text = ngettext("%(count)s more licence is over quota.", "%(count)s more licences are over quota.", others)
        text = text % {"count": format_count(others)}
        yield Finding(Severity.WARNING, text, None, licence_list_url(standing="over"), _("View licences over quota"))


@finding_sources.register
def uncounted_runs(now: datetime) -> Iterator[Finding]:
    """Report runs that have waited for more than 10 minutes to be rolled up."""
    counted_until = RollupProgress.objects.values_list("counted_until", flat=True).first()
    waiting = Run.objects.filter(Q(received_at__gte=counted_until) if counted_until else Q())
    oldest = waiting.order_by("received_at").values_list("received_at", flat=True).first()
    if oldest is not None and oldest < now - BEHIND:
        text = _("Runs are waiting to be counted. Licences and charts are out of date until then.")
        url = reverse("admin:portal_jobrun_changelist", query={"q": "usage.rollups"})
        yield Finding(Severity.WARNING, text, oldest, url, _("View the counting job"))


@finding_sources.register
def implausible_runs(now: datetime) -> Iterator[Finding]:
    """Report the implausible runs of the last days; an older one was left uncounted on purpose."""
    recent = Run.objects.filter(implausible=True, received_at__gt=now - IMPLAUSIBLE_SHOWN)
    found = recent.aggregate(count=Count("pk"), since=Min("received_at"))
    if found["count"]:
        text = ngettext(
            "%(count)s run reports more than %(pages)s pages. They do not count until you accept them. "
            "Reported by %(tokens)s.",
            "%(count)s runs report more than %(pages)s pages each. They do not count until you accept them. "
            "Reported by %(tokens)s.",
            found["count"],
        )
        tokens = recent.order_by("reported_by").values_list("reported_by", flat=True).distinct()[:SHOWN]
        url = reverse("admin:usage_run_changelist", query={"quota": "implausible"})
        values = {
            "count": format_count(found["count"]),
            "pages": format_count(MOST_PLAUSIBLE_PAGES),
            "tokens": ", ".join(tokens),
        }
        yield Finding(Severity.WARNING, text % values, found["since"], url, _("View implausible runs"))


@finding_sources.register
def refused_runs(now: datetime) -> Iterator[Finding]:
    """Report runs refused by the binding of a token or machine, since clients keep them for a limited time."""
    texts = {
        "refused.app_mismatch": _(
            "%(who)s reported runs of an application that its token does not allow. They were rejected and wait on "
            "the client. Correct the application’s name, or issue another token."
        ),
        "refused.licence_mismatch": _(
            "%(who)s reported runs of a licence that its machine does not allow. They were rejected and wait on the "
            "client. Correct the licence, or the machine’s licence."
        ),
    }
    recent = AuditEvent.objects.filter(action__in=texts, at__gt=now - REFUSED_SHOWN).order_by()
    callers = recent.values("action", "actor").annotate(newest=Max("pk"))
    for caller in callers.order_by("-newest")[:SHOWN]:
        url = reverse("admin:portal_auditevent_change", args=[caller["newest"]])
        action, actor = caller["action"], caller["actor"]
        text, since = texts[action] % {"who": describe_subject(actor)}, refused_since(action, actor, now)
        key = f"usage.{action}:{actor}"
        yield Finding(Severity.WARNING, text, since, url, _("View the rejected reports"), key=key)


def refused_since(action: str, actor: str, now: datetime) -> datetime | None:
    """Return the start of the latest streak of refusals: 24 hours without any end it, and with it the finding.

    Such a gap lies between two days, so the first and the last refusal of each day are enough, however many there are.
    """
    events = AuditEvent.objects.filter(action=action, actor=actor, at__gt=now - LONGEST_STREAK)
    days = events.values(day=TruncDay("at", tzinfo=UTC)).annotate(first=Min("at"), last=Max("at")).order_by("-day")
    since: datetime | None = None
    for first, last in days.values_list("first", "last"):
        if since is not None and since - last > REFUSED_SHOWN:
            break
        since = first
    return since


@finding_sources.register
def dropped_records(now: datetime) -> Iterator[Finding]:
    """Report processes that dropped records lately. Their counts are since their start."""
    recent = TrackingWriter.objects.filter(dropped_at__gt=now - DROPPED_SHOWN)
    found = recent.aggregate(count=Sum("dropped"), since=Min("dropped_at"))
    if found["count"]:
        text = ngettext(
            "%(count)s tracking record was dropped: the database could not keep up.",
            "%(count)s tracking records were dropped: the database could not keep up.",
            found["count"],
        )
        yield Finding(Severity.WARNING, text % {"count": format_count(found["count"])}, found["since"])
