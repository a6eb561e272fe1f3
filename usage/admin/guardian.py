"""Usage digests: list, page, and a form for a report on demand."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, timedelta
from operator import attrgetter
from typing import Any

from django import forms
from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db import transaction
from django.db.models import F, Q, QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect, JsonResponse
from django.template.response import TemplateResponse
from django.utils import timezone
from django.utils.html import format_html
from django.utils.translation import gettext, ngettext, pgettext, pgettext_lazy
from django.utils.translation import gettext_lazy as _

from portal import audit
from portal.admin.base import ReadOnlyAdmin
from portal.admin.display import exact_moment, moment_column, stack_lines
from portal.admin.exporting import exported
from portal.admin.filters import ChoiceFilter, PeriodFilter
from portal.audit import EVENT_TEXTS, SUBJECTS, SubjectKind, by_number
from portal.base.moments import midnight
from portal.base.words import format_count, format_moment
from portal.desk.matching import Search
from portal.desk.panels import Section
from portal.notifications.configuration import GUARDIAN, find_channel, recipients_of
from usage.consumption import DAY
from usage.guardian import reports, wording
from usage.guardian.mail import bar_percent
from usage.guardian.summary import build_digest
from usage.models import GuardianReport

SUBJECTS["report"] = SubjectKind("usage.guardianreport", by_number, is_key=True, columns=("period_start", "period_end"))
EVENT_TEXTS.update({"usage.report_asked": _("Usage report created")})
HOURS = {2: _("last 2 hours"), 24: _("last 24 hours"), 168: _("last 7 days"), 720: _("last 30 days")}
DATE = re.compile(r"\d{4}-\d\d-\d\d")
SHOWN_PEOPLE, SHOWN_ERRORS = 200, 50
NO_BREAK = "\u00a0"
BAR = (
    '<svg class="used" viewBox="0 0 100 6" preserveAspectRatio="none" aria-hidden="true">'
    '<rect class="quota" width="100" height="6"/><rect class="good" width="{}" height="6"/></svg>'
)


class ReportForm(forms.Form):
    hours = forms.TypedChoiceField(label=_("Period"), choices=list(HOURS.items()), coerce=int)
    is_mailed = forms.BooleanField(label=_("Also send by e-mail"), required=False)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        channel = find_channel(GUARDIAN)
        if channel is None:
            self.fields["is_mailed"].disabled = True
            self.fields["is_mailed"].help_text = _("No recipients: GUARDIAN_RECIPIENTS is empty.")
        else:
            self.fields["is_mailed"].help_text = ", ".join(recipients_of(channel))


class WrittenFilter(PeriodFilter):
    title = _("time")
    parameter_name = "when"
    field = "created_at"


class OriginFilter(ChoiceFilter):
    title = _("origin")
    parameter_name = "origin"
    options = {"periodic": pgettext_lazy("digest", "scheduled"), "asked": _("on request")}

    def condition(self, value: str, now: datetime) -> Q:
        return Q(requested_by="") if value == "periodic" else ~Q(requested_by="")


def written_on(text: str) -> Q:
    """Match reports written on a day, in the portal's time zone; none if the text is not a date."""
    try:
        day = date.fromisoformat(text) if DATE.fullmatch(text) else None
        return Q(created_at__gte=midnight(day), created_at__lt=midnight(day + DAY)) if day else Q(pk__in=[])
    except (ValueError, OverflowError):
        return Q(pk__in=[])


def count_column(name: str, description: Any) -> Any:
    @exported(attrgetter(name))
    @admin.display(description=description)
    def column(report: Any) -> str:
        return format_count(getattr(report, name))

    column.__name__ = name
    return column


@admin.register(GuardianReport)
class GuardianReportAdmin(ReadOnlyAdmin):
    menu_order = 4
    purpose = _("Activity and errors of two hours each, per user. Digests are created on schedule or on request.")

    class Media:
        css = {"all": ("usage/usage.css",)}

    ordering = ("-id",)
    sortable_by = ("created_at",)
    list_display = (
        "period",
        "origin",
        count_column("people", _("users")),
        count_column("requests", _("requests")),
        count_column("errors", _("errors")),
        moment_column("created_at", _("created"), ordering="created_at"),
    )
    list_filter = (WrittenFilter, OriginFilter)
    search_fields = ("created_at__begins",)
    search_help_text = _("Day of creation, e.g. 2026-03-10")
    add_label = _("Create report")
    actions = ("download", "export_chosen", "export_chosen_xlsx")
    object_actions = ("download",)
    facts = ("period", "origin", moment_column("created_at", _("created"), show=exact_moment), "who", "what", "sample")

    def get_queryset(self, request: HttpRequest) -> QuerySet[GuardianReport]:
        """Defer the JSON, which only the page of a report shows."""
        return GuardianReport.objects.defer("data").annotate(
            people=F("data__active_users"), requests=F("data__total_requests"), errors=F("data__total_errors")
        )

    def search(
        self, request: HttpRequest, queryset: QuerySet[GuardianReport], search: Search
    ) -> QuerySet[GuardianReport]:
        return queryset.filter(written_on(search.text))

    @admin.display(description=_("period"))
    def period(self, report: GuardianReport) -> str:
        return str(report)

    @admin.display(description=_("requested by"))
    def origin(self, report: GuardianReport) -> str:
        return report.requested_by or pgettext("digest", "scheduled")

    @admin.display(description=_("active users"))
    def who(self, report: GuardianReport) -> str:
        return wording.describe_active(report.data)

    @admin.display(description=_("totals"))
    def what(self, report: GuardianReport) -> str:
        return wording.describe_totals(report.data)

    @admin.display(description=_("sampling"))
    def sample(self, report: GuardianReport) -> str:
        return wording.describe_sampling(report.data) or gettext("None: all requests are counted.")

    def get_sections(self, request: HttpRequest, obj: GuardianReport) -> list[Section]:
        data = obj.data
        if wording.is_empty(data):
            return [Section(gettext("Details"), [], [], empty=wording.describe_empty(data))]
        return [
            people_section(data),
            features_section(gettext("Most used"), wording.most_used(data), gettext("No other features.")),
            features_section(gettext("Portal pages"), wording.portal_pages(data), gettext("No pages of the portal.")),
            codes_section(data),
            errors_section(data),
        ]

    @admin.action(description=_("Download as JSON"), permissions=["export"])
    def download(self, request: HttpRequest, queryset: QuerySet[GuardianReport]) -> HttpResponse | None:
        selected = list(queryset[:2])
        if len(selected) != 1:
            self.message_user(request, _("Select a single digest to download."), messages.ERROR)
            return None
        report = selected[0]
        name = f"usage-{report.period_end.astimezone(UTC):%Y%m%d-%H%M}.json"
        headers = {"Content-Disposition": f'attachment; filename="{name}"'}
        return JsonResponse(report.data, json_dumps_params={"ensure_ascii": False, "indent": 2}, headers=headers)

    # --- Reports on demand -------------------------------------------------------------------------------------------

    def has_add_permission(self, request: HttpRequest) -> bool:
        return bool(request.user.has_perm("usage.add_guardianreport"))

    def add_view(
        self, request: HttpRequest, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        if not self.has_add_permission(request):
            raise PermissionDenied
        form = ReportForm(request.POST or None)
        if form.is_valid():
            return self.report_now(request, form.cleaned_data["hours"], form.cleaned_data["is_mailed"])
        context = {
            "form": form,
            "title": _("Create report"),
            "opts": self.opts,
            **self.admin_site.each_context(request),
        }
        return TemplateResponse(request, "usage/report_now.html", context)

    def report_now(self, request: HttpRequest, hours: int, is_mailed: bool) -> HttpResponse:
        end = timezone.now()
        start = end - timedelta(hours=hours)
        data = build_digest(start, end)
        with transaction.atomic():
            report = reports.create(start, end, data, request.user.get_username(), is_mailed=is_mailed)
            after = {"hours": hours, "mailed": is_mailed}
            audit.record_event("usage.report_asked", f"report:{report.pk}", request=request, after=after)
        try:
            reports.write_file(report)
        except reports.FileNotWritten as error:
            text = _("The report was created, but its file could not be updated: %(error)s") % {"error": error}
            self.message_user(request, text, messages.WARNING)
        else:
            self.message_user(request, _("Report created."), messages.SUCCESS)
        return HttpResponseRedirect(self.address("change", report.pk))


# --- The page of a report --------------------------------------------------------------------------------------------


def people_section(data: wording.Data) -> Section:
    rows = [
        [
            stack_lines(user["email"], ", ".join(wording.user_features(user["features_used"]))),
            wording.format_minutes(user["total_time_minutes"]).replace(" ", NO_BREAK),
            user["requests_count"],
            user["errors_count"],
        ]
        for user in data["users"][:SHOWN_PEOPLE]
    ]
    return Section(
        title=gettext("Users"),
        columns=[gettext("User and features"), gettext("Active time"), gettext("Requests"), gettext("Errors")],
        rows=rows,
        note=count_more(len(data["users"]) - len(rows)),
        empty=gettext("No user activity (only machines, applications and unknown clients)."),
    )


def features_section(title: str, counts: list[tuple[str, int]], empty: str) -> Section:
    most = max([count for _name, count in counts], default=1)
    return Section(
        title=title,
        columns=[gettext("Feature"), gettext("Count"), gettext("Share")],
        rows=[[name, count, format_html(BAR, bar_percent(count, most))] for name, count in counts],
        empty=empty,
    )


def codes_section(data: wording.Data) -> Section:
    return Section(
        title=gettext("Errors by code"),
        columns=[gettext("Code"), gettext("Count")],
        rows=[[code, count] for code, count in wording.errors_by_code(data)],
        empty=gettext("No errors."),
    )


def errors_section(data: wording.Data) -> Section:
    """List the newest errors of all people."""
    errors = [(error["timestamp"], user["email"], error) for user in data["users"] for error in user["errors"]]
    errors.sort(key=lambda row: row[0], reverse=True)
    return Section(
        title=gettext("User-facing errors"),
        columns=[gettext("Time"), gettext("User"), gettext("Error"), gettext("Endpoint")],
        rows=[
            # The stylesheet keeps a time on one line.
            [format_html("<time>{}</time>", format_moment(read_utc(at))), who, error["error"], error["endpoint"]]
            for at, who, error in errors[:SHOWN_ERRORS]
        ],
        note=count_more(sum(user["errors_count"] for user in data["users"]) - min(len(errors), SHOWN_ERRORS)),
        empty=gettext("No user-facing errors."),
    )


def read_utc(text: str) -> datetime:
    """Read a time of a stored report, such as `2026-03-10 15:30:12`."""
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def count_more(left: int) -> str:
    return (
        ngettext("and %(count)s more", "and %(count)s more", left) % {"count": format_count(left)} if left > 0 else ""
    )
