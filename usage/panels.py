"""Usage on the landing page, and the last runs of a machine on its page."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from typing import Any

from django.core.cache import cache
from django.db.models import Count, Sum
from django.db.models.functions import Coalesce, Least, TruncDate
from django.urls import reverse
from django.utils import timezone
from django.utils.formats import date_format
from django.utils.html import format_html
from django.utils.translation import gettext as _

from portal.paginator import grouped
from portal.panels import Section, Tile, chart_start, daily_chart, machine_sections, tiles
from usage.models import Run

# The landing page reads so many of the newest runs at most, once a minute and process, however many there are.
MOST_READ = 100_000
FRESH_SECONDS = 60
SHOWN_RUNS = 10


@dataclass(frozen=True)
class Recent:
    """The runs of the last 30 days; where there are too many to read, those since `since`, the start of a day."""

    by_day: dict[date, int]
    pages: int
    documents: int
    failed: int
    since: date | None

    @property
    def runs(self) -> int:
        return sum(self.by_day.values())


# A run belongs to the day it happened on, which a spool may report weeks later; no clock is believed that runs ahead.
HAPPENED = Coalesce(Least("started_at", "received_at"), "received_at")


def recent_runs(now: datetime) -> Recent:
    since = start_of_what_is_read(now)
    start = since or chart_start(now)
    # Nothing happened after it was received, and an index serves this condition alone.
    received = Run.objects.filter(received_at__gte=start)
    rows = received.alias(happened=HAPPENED).filter(happened__gte=start).annotate(day=TruncDate(HAPPENED))
    sums = (
        rows.order_by()
        .values_list("day")
        .annotate(Count("id"), Sum("total_pages"), Sum("document_count"), Sum("failed_count"))
    )
    days = list(sums)
    pages, documents, failed = (sum(day[column] for day in days) for column in (2, 3, 4))
    return Recent({day[0]: day[1] for day in days}, pages, documents, failed, since and timezone.localdate(since))


def start_of_what_is_read(now: datetime) -> datetime | None:
    """Midnight after the newest run that is one too many; None where all of the 30 days can be read.

    A day that alone has too many is read from its midnight all the same: a part of it would show a fall that is none.
    """
    received = Run.objects.filter(received_at__gte=chart_start(now)).order_by("-received_at")
    beyond = received.values_list("received_at", flat=True)[MOST_READ : MOST_READ + 1].first()
    if beyond is None:
        return None
    today = timezone.localdate(now)
    first = min(timezone.localdate(beyond) + timedelta(days=1), today)
    return timezone.make_aware(datetime.combine(first, time.min))


@tiles.register
def usage_tile(now: datetime) -> Tile:
    recent: Any = cache.get_or_set("usage.recent", lambda: recent_runs(now), FRESH_SECONDS)
    days = 30 if recent.since is None else (timezone.localdate(now) - recent.since).days + 1
    return Tile(
        title=_("Usage"),
        figure=grouped(recent.runs),
        caption=_("runs in 30 days") if days == 30 else _("runs since %(date)s") % {"date": date_format(recent.since)},
        url=reverse("admin:usage_run_changelist"),
        facts=[
            (_("documents"), grouped(recent.documents)),
            (_("pages"), grouped(recent.pages)),
            (_("failed"), grouped(recent.failed)),
        ],
        chart=daily_chart(recent.by_day, now, _("runs a day"), since=recent.since),
    )


@machine_sections.register
def runs_of_machine(machine_id: str) -> Section:
    runs = Run.objects.filter(machine_id=machine_id).defer("documents").order_by("-id")[:SHOWN_RUNS]
    rows = [
        [
            run.received_at,
            format_html('<a href="{}">{}</a>', reverse("admin:usage_run_change", args=[run.pk]), run.run_id.hex[:8]),
            f"{run.app_name} {run.app_version}",
            run.license_ref,
            run.document_count,
            run.failed_count,
            run.total_pages,
        ]
        for run in runs
    ]
    return Section(
        title=_("Last runs"),
        columns=[_("Received"), _("Run"), _("Application"), _("Licence"), _("Documents"), _("Failed"), _("Pages")],
        rows=rows,
        url=reverse("admin:usage_run_changelist", query={"q": machine_id}),
        empty=_("The machine has not reported a run."),
    )
