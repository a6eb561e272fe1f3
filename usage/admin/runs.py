"""Runs: machine, application, licence and outcome of each."""

from __future__ import annotations

import re
import uuid
from datetime import datetime, timedelta
from typing import Any

from django.contrib import admin, messages
from django.db import transaction
from django.db.models import F, Q, QuerySet
from django.http import HttpRequest
from django.urls import reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext, ngettext
from django.utils.translation import gettext_lazy as _

from agents.models import Agent
from portal.admin.display import BAD, GOOD, WARNING, badge, exact_moment, join_inline, moment_column, stack_lines
from portal.admin.filters import ChoiceFilter, PeriodFilter
from portal.admin.searching import search_by
from portal.audit import EVENT_TEXTS
from portal.base.words import EMPTY_VALUE, format_count
from portal.desk.matching import Search
from portal.desk.panels import Section
from portal.work.jobs import AlreadyRunning
from usage import rollups
from usage.admin.dashboard import UsageDashboard
from usage.admin.display import application_name, clock_note, customer_name, licence_link
from usage.clocks import ClockNote
from usage.models import Licence, Run

SHOWN_DOCUMENTS = 100
RECENT = timedelta(hours=24)
RUN_ID_PREFIX = re.compile(r"[0-9a-f]{4,32}")
EVENT_TEXTS.update({"usage.exported": _("Usage exported")})


class ReceivedFilter(PeriodFilter):
    title = _("time received")
    parameter_name = "received"
    field = "received_at"


class RunOutcomeFilter(ChoiceFilter):
    title = _("outcome")
    parameter_name = "outcome"
    options = {"succeeded": _("all succeeded"), "failures": _("with failures")}

    def condition(self, value: str, now: datetime) -> Q:
        return {"succeeded": Q(succeeded_count=F("document_count")), "failures": Q(failed_count__gt=0)}[value]


class RunQuotaFilter(ChoiceFilter):
    title = _("quota")
    parameter_name = "quota"
    options = {"over": _("over quota"), "implausible": _("implausible")}

    def condition(self, value: str, now: datetime) -> Q:
        return {"over": Q(over_quota=True), "implausible": Q(implausible=True)}[value]


class ClockFilter(ChoiceFilter):
    """Limited to the last 24 hours, whose index serves it: the clock has none."""

    title = _("sender's clock, last 24 hours")
    parameter_name = "clock"
    options = dict(ClockNote.choices)

    def condition(self, value: str, now: datetime) -> Q:
        return Q(clock=value, received_at__gte=now - RECENT)


def run_id_starts_with(text: str) -> Q | None:
    """Match runs by the start of the id, in hex with or without dashes. None if the text cannot start an id."""
    digits = text.lower().replace("-", "")
    if not RUN_ID_PREFIX.fullmatch(digits):
        return None
    return Q(run_id__gte=uuid.UUID(digits.ljust(32, "0")), run_id__lte=uuid.UUID(digits.ljust(32, "f")))


@admin.register(Run)
class RunAdmin(UsageDashboard):
    menu_order = 2
    purpose = _(
        "A run is one use of an application, with its documents and pages. Applications report runs with a token."
    )
    empty_link = ("admin:connect", _("Connect an application"))
    change_list_template = "usage/list.html"
    ordering = ("-id",)
    sortable_by = ("received_at",)
    list_display = (
        moment_column("received_at", _("received"), ordering="received_at"),
        "run",
        "machine_id",
        "application",
        "licence",
        "document_count",
        "outcome",
        "total_pages",
        "quota",
    )
    list_display_links = ("run",)
    list_filter = (ReceivedFilter, RunOutcomeFilter, RunQuotaFilter, ClockFilter)
    is_log = True
    search_fields = ("machine_id__fragment", "license_ref__fragment")
    search_help_text = search_by(_("run"), _("machine"), _("licence"), _("customer"))
    actions = (*UsageDashboard.actions, "count_pages")
    object_actions = ("count_pages",)
    titled_facts = (
        (
            _("Outcome"),
            (
                "outcome", "document_count", "documents_omitted", "succeeded_count", "failed_count", "total_pages",
                "quota", "dropped",
            ),
        ),
        (
            _("Origin"),
            (
                "run_id", "machine", "application", "licence_in_full", "reported_by",
                moment_column("started_at", _("started"), show=exact_moment),
                moment_column("sent_at", _("sent"), show=exact_moment),
                moment_column("received_at", _("received"), show=exact_moment),
                clock_note,
            ),
        ),
    )  # fmt: skip

    def get_queryset(self, request: HttpRequest) -> QuerySet[Run]:
        """Defer the documents, up to 10,000 per run, which only the page of a run shows."""
        return super().get_queryset(request).defer("documents")

    def search(self, request: HttpRequest, queryset: QuerySet[Run], search: Search) -> QuerySet[Run]:
        """Find the runs of the machines, licences and customers that match, by index, and runs by their id.

        The names are looked up first: a subquery in an OR would scan all runs.
        """
        text = search.text
        machines = search.matching_values(Agent, ["name__fragment"], value="machine_id")
        refs = search.matching_values(Licence, ("ref__fragment", "customer__fragment"), value="ref")
        found = Q(machine_id__begins=text) | Q(license_ref__begins=text) | Q(license_ref__in=refs)
        found |= Q(machine_id__in={*machines, *search.recent_values(Run, "machine_id")})
        by_id = run_id_starts_with(text)
        return queryset.filter(found if by_id is None else found | by_id)

    def prepare_rows(self, request: HttpRequest, rows: list[Any]) -> None:
        """Attach the licence to each run, with one query for all."""
        refs = {run.license_ref for run in rows}
        licences = {licence.ref: licence for licence in Licence.objects.filter(ref__in=refs)}
        for run in rows:
            run.licence = licences.get(run.license_ref)

    # --- Implausible runs --------------------------------------------------------------------------------------------

    def can_act(self, obj: Run, action: str) -> bool:
        return obj.implausible

    @admin.action(description=_("Count the pages"), permissions=["manage"])
    def count_pages(self, request: HttpRequest, queryset: QuerySet[Run]) -> None:
        """Accept the pages of implausible runs, so that quotas and charts include them."""
        selected = Run.objects.filter(pk__in=list(queryset.filter(implausible=True).values_list("pk", flat=True)))
        try:
            with transaction.atomic():
                count = selected.update(implausible=False)
                rollups.recount(selected)
        except AlreadyRunning:
            text = _("Runs are being counted right now. Try again in a minute.")
            self.message_user(request, text, messages.WARNING)
            return
        done = ngettext("The pages of %(count)s run now count.", "The pages of %(count)s runs now count.", count)
        self.message_user(request, done % {"count": format_count(count)}, messages.SUCCESS)

    # --- Columns and facts -------------------------------------------------------------------------------------------

    @admin.display(description=_("run"))
    def run(self, run: Run) -> str:
        return run.run_id.hex[:8]

    @admin.display(description=_("machine"))
    def machine(self, run: Run) -> SafeString | str:
        if not run.machine_id:
            return EMPTY_VALUE
        url = reverse("admin:agents_agent_changelist", query={"q": run.machine_id})
        return format_html('<a href="{}">{}</a>', url, run.machine_id)

    @admin.display(description=_("application"))
    def application(self, run: Run) -> str:
        return application_name(run.app_name, run.app_version)

    @admin.display(description=_("licence"))
    def licence(self, run: Run) -> SafeString | str:
        licence: Licence | None = run.licence  # type: ignore[attr-defined]
        return run.license_ref if licence is None else stack_lines(licence_link(licence), licence.customer)

    @admin.display(description=_("licence"))
    def licence_in_full(self, run: Run) -> SafeString | str:
        """Link to the licence, if the rollup has created it: it does so within a minute of the first run."""
        licence = Licence.objects.filter(ref=run.license_ref).first()
        return run.license_ref if licence is None else join_inline(licence_link(licence), customer_name(licence))

    @admin.display(description=_("outcome"))
    def outcome(self, run: Run) -> SafeString:
        if run.failed_count:
            text = ngettext("%(count)s failed", "%(count)s failed", run.failed_count)
            return badge(text % {"count": format_count(run.failed_count)}, BAD)
        if run.succeeded_count < run.document_count:
            return badge(gettext("partly unknown"), WARNING)
        return badge(gettext("all succeeded"), GOOD)

    @admin.display(description=_("quota"))
    def quota(self, run: Run) -> SafeString | str:
        if run.implausible:
            return badge(gettext("implausible"), WARNING)
        return badge(gettext("over quota"), WARNING) if run.over_quota else EMPTY_VALUE

    @admin.display(description=_("dropped keys"))
    def dropped(self, run: Run) -> str:
        if not run.dropped_keys:
            return gettext("None: the report contained only documented keys.")
        text = ngettext(
            "%(count)s undocumented key was dropped. Neither its name nor its value was stored.",
            "%(count)s undocumented keys were dropped. Neither their names nor their values were stored.",
            run.dropped_keys,
        )
        return text % {"count": format_count(run.dropped_keys)}

    def get_sections(self, request: HttpRequest, obj: Run) -> list[Section]:
        return [document_section(obj.documents, obj.documents_omitted)]


def document_section(documents: list[dict[str, Any]], omitted: int) -> Section:
    """List the first documents of a run, and count the others, `omitted` ones included."""
    badges = {"success": badge(gettext("succeeded"), GOOD), "failed": badge(gettext("failed"), BAD)}
    rows = [
        [
            document.get("ordinal"),
            badges.get(document.get("status") or "", gettext("unknown")),
            document.get("page_count"),
            document.get("duration_ms"),
            document.get("extension"),
        ]
        for document in documents[:SHOWN_DOCUMENTS]
    ]
    more = len(documents) - len(rows) + omitted
    note = ngettext("and %(count)s more document", "and %(count)s more documents", more) % {"count": format_count(more)}
    return Section(
        title=gettext("Documents"),
        columns=[
            gettext("Position"),
            gettext("Status"),
            gettext("Pages"),
            gettext("Duration (ms)"),
            gettext("Extension"),
        ],
        rows=rows,
        note=note if more else "",
        empty=gettext("The run had no documents."),
    )
