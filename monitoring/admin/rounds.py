"""Rounds of checks in the admin: read only, newest first."""

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _now
from django.utils.translation import gettext_lazy as _

from monitoring.admin.base import MonitoringAdmin
from monitoring.admin.display import format_share, row_column
from monitoring.admin.filters import FinishedFilter, RoundOutcomeFilter
from monitoring.checks.active_round import MOST_NAMED
from monitoring.models import Round
from monitoring.panels import format_milliseconds
from portal.admin.base import ReadOnlyAdmin
from portal.admin.display import BAD, GOOD, badge, exact_moment, moment_column, stack_lines
from portal.admin.searching import search_by
from portal.base.words import EMPTY_VALUE, format_count
from portal.desk.matching import Search

SHOWN_NAMES = 3


def count_others(found: Round, shown: int) -> str:
    """Return `and 3 more` for the names not shown, without a number if the round stores no more names."""
    if len(found.failing) >= MOST_NAMED:
        return _now("and more")
    more = len(found.failing) - shown
    return _now("and %(count)d more") % {"count": more} if more > 0 else ""


@admin.register(Round)
class RoundAdmin(MonitoringAdmin, ReadOnlyAdmin):
    menu_group = "system"
    purpose = _("Rounds of checks: every minute the workers check the targets that are due, and record a round.")
    empty_link = ("admin:monitoring_target_changelist", _("View targets"))
    ordering = ("-number",)
    sortable_by = ("number",)
    list_display = (
        "number", moment_column("finished_at", _("finished"), show=exact_moment), "checked", "failed", "retries",
        "errors", "p95", "network",
    )  # fmt: skip
    list_display_links = ("number",)
    list_filter = (FinishedFilter, RoundOutcomeFilter)
    is_log = True
    search_fields = ("number__begins",)
    search_help_text = search_by(_("number"))
    titled_facts = (
        (
            _("Round"),
            (
                "number",
                moment_column("started_at", _("started"), show=exact_moment),
                moment_column("finished_at", _("finished"), show=exact_moment),
                "network",
            ),
        ),
        (_("Checks"), ("checked", "failed_in_full", "retries", "not_counted", "errors", "mean", "p95")),
    )

    def search(self, request: HttpRequest, queryset: QuerySet[Round], search: Search) -> QuerySet[Round]:
        """Find the round of exactly this number."""
        text = search.text
        is_number = text.isascii() and text.isdigit() and len(text) <= 18
        return queryset.filter(number=int(text)) if is_number else queryset.none()

    checked = row_column(_("checks"), lambda found: format_count(found.checks))
    retries = row_column(_("retried"), lambda found: format_count(found.retried))
    not_counted = row_column(_("excluded"), lambda found: format_count(found.excused))
    errors = row_column(_("errors"), lambda found: format_share(found.error_rate))
    mean = row_column(_("mean"), lambda found: format_milliseconds(found.mean_ms))
    p95 = row_column("p95", lambda found: format_milliseconds(found.p95_ms))

    @admin.display(description=_("failed"))
    def failed(self, found: Round) -> SafeString | str:
        if not found.failures:
            return format_count(0)
        names = ", ".join(found.failing[:SHOWN_NAMES])
        others = " " + more if (more := count_others(found, SHOWN_NAMES)) else ""
        return stack_lines(format_html('<span class="bad">{}</span>', format_count(found.failures)), names + others)

    @admin.display(description=_("failed"))
    def failed_in_full(self, found: Round) -> SafeString | str:
        names = [*found.failing, count_others(found, len(found.failing))]
        beneath = format_html_join("", '<span class="beneath">{}</span>', ((name,) for name in names if name))
        return format_html("{}{}", format_count(found.failures), beneath)

    @admin.display(description=_("network"))
    def network(self, found: Round) -> SafeString | str:
        """Show whether the portal reached the network, if it was probed."""
        if found.is_online is None:
            return EMPTY_VALUE
        return badge(_now("online"), GOOD) if found.is_online else badge(_now("offline"), BAD)
