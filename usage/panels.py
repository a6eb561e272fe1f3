"""The tile of usage on the landing page, and the latest runs, errors and activity on a machine's page."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import date, datetime, timedelta

from django.core.cache import cache
from django.urls import reverse
from django.utils.html import format_html
from django.utils.translation import gettext as _
from django.utils.translation import ngettext, pgettext

from agents.enrolment import machine_subject
from portal.admin.display import BAD, GOOD, badge
from portal.base.findings import admin_url
from portal.base.words import format_count
from portal.desk.panels import Section, Tile, chart_start, daily_chart, machine_sections, tiles, token_uses
from portal.models import ApiToken
from usage.consumption import UsageTotals, add_totals, totals_by_day
from usage.models import FeatureUsage, Run, RunRollup, UserError

FRESH_SECONDS = 60
SHOWN_RUNS = SHOWN_ERRORS = SHOWN_USES = 10


def recent_totals(now: datetime) -> dict[date, UsageTotals]:
    """Return the cached totals of the days in the chart, at most a minute old."""
    totals: dict[date, UsageTotals] = cache.get_or_set(
        "usage.recent", lambda: totals_by_day(RunRollup.objects.filter(hour__gte=chart_start(now))), FRESH_SECONDS
    )  # type: ignore[assignment]
    return totals


@tiles.register
def usage_tile(now: datetime) -> Tile:
    days = recent_totals(now)
    total = add_totals(days.values())
    return Tile(
        title=_("Usage"),
        figure=format_count(total.runs),
        caption=_("runs in 30 days"),
        url=reverse("admin:usage_dashboard"),
        facts=[
            (_("documents"), format_count(total.documents)),
            (_("pages"), format_count(total.pages)),
            (_("failed"), format_count(total.failed)),
        ],
        chart=daily_chart({day: totals.runs for day, totals in days.items()}, now, _("runs per day")),
    )


@token_uses.register
def machines_reporting(tokens: Sequence[ApiToken], now: datetime) -> Iterator[str]:
    """Yield how many machines have reported runs with the tokens in the last 24 hours."""
    bearers = {token.bearer for token in tokens if token.kind == ApiToken.Kind.CLIENT}
    recent = Run.objects.filter(received_at__gt=now - timedelta(hours=24), reported_by__in=bearers)
    if bearers and (count := recent.exclude(machine_id="").order_by().values("machine_id").distinct().count()):
        text = ngettext(
            "%(count)s machine reported runs in the last 24 hours.",
            "%(count)s machines reported runs in the last 24 hours.",
            count,
        )
        yield text % {"count": format_count(count)}


# --- Runs ------------------------------------------------------------------------------------------------------------


def runs_section(search: str, fourth_column: str, heading: str, empty: str, **filters: str) -> Section:
    """List the latest runs, with their machine_id or license_ref under `heading` in the fourth column."""
    runs = Run.objects.filter(**filters).defer("documents").order_by("-id")[:SHOWN_RUNS]
    rows = [
        [
            run.received_at,
            format_html('<a href="{}">{}</a>', reverse("admin:usage_run_change", args=[run.pk]), run.run_id.hex[:8]),
            f"{run.app_name} {run.app_version}",
            getattr(run, fourth_column),
            run.document_count,
            run.failed_count,
            run.total_pages,
        ]
        for run in runs
    ]
    return Section(
        title=_("Latest runs"),
        columns=[_("Received"), _("Run"), _("Application"), heading, _("Documents"), _("Failed"), _("Pages")],
        rows=rows,
        url=reverse("admin:usage_run_changelist", query={"q": search}),
        empty=empty,
    )


@machine_sections.register
def machine_runs_section(machine_id: str) -> Section:
    empty = _("No runs yet.")
    return runs_section(machine_id, "license_ref", _("Licence"), empty, machine_id=machine_id)


# --- Requests of a machine -------------------------------------------------------------------------------------------


@machine_sections.register
def machine_errors_section(machine_id: str) -> Section:
    errors = UserError.objects.filter(user_email=machine_subject(machine_id)).order_by("-id")[:SHOWN_ERRORS]
    return Section(
        title=_("Latest errors"),
        columns=[_("Time"), _("Error"), _("Explanation"), _("Endpoint"), _("Code")],
        rows=[
            [
                error.timestamp,
                error.error_type,
                error.error_message,
                format_endpoint(error),
                str(error.error_code or ""),
            ]
            for error in errors
        ],
        url=admin_url("usage_usererror_changelist", {"q": machine_subject(machine_id)}),
        empty=_("No errors."),
    )


def format_endpoint(error: UserError) -> str:
    return f"{error.method} {error.endpoint}".strip()


@machine_sections.register
def machine_activity_section(machine_id: str) -> Section:
    uses = FeatureUsage.objects.filter(user_email=machine_subject(machine_id)).order_by("-id")[:SHOWN_USES]
    return Section(
        title=_("Latest activity"),
        columns=[_("Time"), _("Feature"), _("Outcome"), _("Duration (ms)")],
        rows=[
            [
                use.timestamp,
                use.feature_name,
                badge(pgettext("use", "succeeded"), GOOD) if use.success else badge(_("failed"), BAD),
                use.duration_ms,
            ]
            for use in uses
        ],
        url=admin_url("usage_featureusage_changelist", {"q": machine_subject(machine_id)}),
        empty=_("No activity. (Heartbeats aren’t listed.)"),
    )
