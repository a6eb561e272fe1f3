"""What about licences and about tracking needs an operator."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta

from django.db.models import Count, Max, Min, Q, Sum
from django.urls import reverse
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from portal.base.words import format_count
from portal.desk.findings import Finding, Severity, finding_sources
from portal.models import AuditEvent
from usage.licences import UNNAMED, near_quota, over_quota
from usage.models import Licence, RollupProgress, Run, TrackingWriter
from usage.models.runs import MOST_PLAUSIBLE_PAGES

# No more than so many one by one: the list shows the rest.
SHOWN = 5
BEHIND = timedelta(minutes=10)
DROPPED_SHOWN = timedelta(days=1)
IMPLAUSIBLE_SHOWN = timedelta(days=7)
REFUSED_SHOWN = timedelta(days=1)


def list_of(**query: str) -> str:
    return reverse("admin:usage_licence_changelist", query=query)


@finding_sources.register
def licences(now: datetime) -> Iterator[Finding]:
    """Those over their quota one by one, those near it and those without a name by their number."""
    counts = Licence.objects.aggregate(
        over=Count("pk", filter=over_quota(now)),
        near=Count("pk", filter=near_quota(now)),
        unnamed=Count("pk", filter=UNNAMED),
        since=Min("first_seen_at", filter=UNNAMED),
    )
    if counts["over"]:
        yield from used_up(now, counts["over"])
    if counts["near"]:
        text = ngettext(
            "%(count)s licence has used 80 %% of its pages or more.",
            "%(count)s licences have used 80 %% of their pages or more.",
            counts["near"],
        )
        yield about(text, counts["near"], list_of(standing="near"))
    if counts["unnamed"]:
        text = ngettext(
            "%(count)s licence is used that nobody has named: whose is it?",
            "%(count)s licences are used that nobody has named: whose are they?",
            counts["unnamed"],
        )
        yield about(text, counts["unnamed"], list_of(customer="unnamed"), since=counts["since"])


def about(text: str, count: int, url: str, since: datetime | None = None) -> Finding:
    return Finding(Severity.INFO, text % {"count": format_count(count)}, since, url, _("See them"))


def used_up(now: datetime, count: int) -> Iterator[Finding]:
    for licence in Licence.objects.filter(over_quota(now)).order_by("ref")[:SHOWN]:
        text = _("%(licence)s has used up its %(quota)s pages of this month.")
        words = {"licence": licence, "quota": format_count(licence.monthly_page_quota or 0)}
        url = reverse("admin:usage_licence_change", args=[licence.pk])
        yield Finding(Severity.WARNING, text % words, None, url, _("See the licence"))
    more = count - SHOWN
    if more > 0:
        text = ngettext(
            "%(count)s more licence has used up its pages.", "%(count)s more licences have used up their pages.", more
        )
        words = {"count": format_count(more)}
        yield Finding(Severity.WARNING, text % words, None, list_of(standing="over"), _("See them"))


@finding_sources.register
def uncounted_runs(now: datetime) -> Iterator[Finding]:
    """Runs that were received a while ago, and that no sum knows of yet."""
    counted_until = RollupProgress.objects.values_list("counted_until", flat=True).first()
    waiting = Run.objects.filter(Q(received_at__gte=counted_until) if counted_until else Q())
    oldest = waiting.order_by("received_at").values_list("received_at", flat=True).first()
    if oldest is not None and oldest < now - BEHIND:
        text = _("Runs have been waiting to be counted: what licences and charts show is behind.")
        url = reverse("admin:portal_jobrun_changelist", query={"q": "usage.rollups"})
        yield Finding(Severity.WARNING, text, oldest, url, _("See its runs"))


@finding_sources.register
def implausible_runs(now: datetime) -> Iterator[Finding]:
    """Those of the last days: one that an operator leaves uncounted needs nobody any more."""
    lately = Run.objects.filter(implausible=True, received_at__gt=now - IMPLAUSIBLE_SHOWN)
    found = lately.aggregate(count=Count("pk"), since=Min("received_at"))
    if found["count"]:
        text = ngettext(
            "%(count)s run has more than %(pages)s pages, which are not counted: check it. Reported by %(tokens)s.",
            "%(count)s runs have more than %(pages)s pages each, which are not counted: check them. "
            "Reported by %(tokens)s.",
            found["count"],
        )
        tokens = lately.order_by("reported_by").values_list("reported_by", flat=True).distinct()[:SHOWN]
        words = {
            "count": format_count(found["count"]),
            "pages": format_count(MOST_PLAUSIBLE_PAGES),
            "tokens": ", ".join(tokens),
        }  # fmt: skip
        url = reverse("admin:usage_run_changelist", query={"quota": "implausible"})
        yield Finding(Severity.WARNING, text % words, found["since"], url, _("See them"))


@finding_sources.register
def misplaced_runs(now: datetime) -> Iterator[Finding]:
    """Runs that a binding keeps out: their clients keep them, but not for ever."""
    texts = {
        "refused.app_mismatch": _(
            "%(who)s reported runs of an application that its token is not bound to. They were refused and wait in "
            "the client: correct the application’s name, or issue another token."
        ),
        "refused.licence_mismatch": _(
            "%(who)s reported runs of another licence than the machine is bound to. They were refused and wait in the "
            "client: correct the licence, or the binding."
        ),
    }
    lately = AuditEvent.objects.filter(action__in=texts, at__gt=now - REFUSED_SHOWN).order_by()
    callers = lately.values("action", "actor").annotate(since=Min("at"), newest=Max("pk"))
    for caller in callers.order_by("-newest")[:SHOWN]:
        url = reverse("admin:portal_auditevent_change", args=[caller["newest"]])
        text = texts[caller["action"]] % {"who": caller["actor"]}
        yield Finding(Severity.WARNING, text, caller["since"], url, _("See the refusals"))


@finding_sources.register
def dropped_records(now: datetime) -> Iterator[Finding]:
    """Each process counts from its start on: how many of them were dropped today nobody knows."""
    lately = TrackingWriter.objects.filter(dropped_at__gt=now - DROPPED_SHOWN)
    found = lately.aggregate(count=Sum("dropped"), since=Min("dropped_at"))
    if found["count"]:
        text = ngettext(
            "%(count)s record of what was done could not be kept: the database did not take it in time.",
            "%(count)s records of what was done could not be kept: the database did not take them in time.",
            found["count"],
        )
        yield Finding(Severity.WARNING, text % {"count": format_count(found["count"])}, found["since"])
