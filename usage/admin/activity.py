"""The lists of sessions, feature uses and errors.

Filters without an index are limited to the last 24 hours, which have one: lists of ten million rows stay fast. Older
rows are found by searching for a name.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from django.contrib import admin
from django.contrib.auth.models import User
from django.db.models import Q, QuerySet
from django.http import HttpRequest
from django.urls import reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext, pgettext, pgettext_lazy
from django.utils.translation import gettext_lazy as _

from agents.models import Agent
from portal.admin.base import ReadOnlyAdmin
from portal.admin.display import BAD, GOOD, QUIET, WARNING, badge, exact_moment, moment_column, stack_lines
from portal.admin.filters import ChoiceFilter, PeriodFilter
from portal.admin.searching import search_by
from portal.base.lookups import FRAGMENT
from portal.base.problems import CODES
from portal.base.words import EMPTY_VALUE, format_count, format_span
from portal.desk.matching import Search
from portal.desk.panels import Section
from usage.admin.display import clock_note
from usage.guardian.features import feature_title
from usage.models import FeatureUsage, UserError, UserSession
from usage.models.activity import PEOPLE, PORTAL
from usage.panels import format_endpoint

RECENT = timedelta(hours=24)
SHOWN_ERRORS = 10
MACHINE = "agent:"


# --- Filters ---------------------------------------------------------------------------------------------------------


class WhenFilter(PeriodFilter):
    title = _("time")
    parameter_name = "when"
    field = "timestamp"


class SessionStartFilter(WhenFilter):
    field = "session_start"


class SessionStateFilter(ChoiceFilter):
    title = _("state")
    parameter_name = "state"
    options = {"open": pgettext_lazy("session", "open"), "ended": pgettext_lazy("session", "ended")}

    def condition(self, value: str, now: datetime) -> Q:
        return Q(session_end__isnull=value == "open")


class RecentFilter(ChoiceFilter):
    """Base of filters without an index, limited to the last 24 hours."""

    def condition(self, value: str, now: datetime) -> Q:
        return Q(timestamp__gte=now - RECENT) & self.recent_condition(value)

    def recent_condition(self, value: str) -> Q:
        raise NotImplementedError


class CallerFilter(RecentFilter):
    title = _("caller, last 24 hours")
    parameter_name = "who"
    options = {"people": _("users"), "machines": _("machines"), "apps": _("applications"), "nobody": _("unknown")}

    def recent_condition(self, value: str) -> Q:
        return {
            "people": PEOPLE,
            "machines": Q(user_email__begins=MACHINE),
            "apps": Q(user_email__begins="client:"),
            "nobody": Q(user_email=""),
        }[value]


class FeatureOutcomeFilter(ChoiceFilter):
    """Offers failures only: nearly all uses succeed, and no index finds the successful ones."""

    title = _("outcome")
    parameter_name = "outcome"
    options = {"failed": _("failed")}

    def condition(self, value: str, now: datetime) -> Q:
        return Q(success=False)


class CodeFilter(RecentFilter):
    title = _("code, last 24 hours")
    parameter_name = "code"
    options = {"refused": _("rejected (4xx)"), "failed": _("server error (5xx)"), "none": _("no code")}

    def recent_condition(self, value: str) -> Q:
        return {
            "refused": Q(error_code__gte=400, error_code__lt=500),
            "failed": Q(error_code__gte=500),
            "none": Q(error_code=None),
        }[value]


def caller_names(search: Search) -> list[str]:
    """Return how rows name the machines and users that match."""
    machines = search.matching_values(Agent, ["name__fragment"], value="machine_id")
    fields = ("username__fragment", "email__fragment", "first_name__fragment", "last_name__fragment")
    users = search.take(search.matching_rows(User, fields).values_list("username", "email"))
    return [MACHINE + name for name in machines] + [name for user in users for name in user if name]


# --- Shared columns --------------------------------------------------------------------------------------------------


class ActivityAdmin(ReadOnlyAdmin):
    ordering = ("-id",)
    is_log = True

    def search(self, request: HttpRequest, queryset: QuerySet[Any], search: Search) -> QuerySet[Any]:
        """Find the rows of the callers and features that match, by index."""
        found = Q(user_email__in=caller_names(search))
        for field in self.search_fields:
            name = field.removesuffix(FRAGMENT)
            recent = search.recent_values(self.model, name)
            found |= Q(**{f"{name}__begins": search.text}) | Q(**{f"{name}__in": recent})
        return queryset.filter(found)

    @admin.display(description=_("caller"))
    def who(self, row: Any) -> SafeString | str:
        return row.user_email or badge(gettext("unknown"), QUIET)

    @admin.display(description=_("caller"))
    def caller_link(self, row: Any) -> SafeString | str:
        """Link to the machine, or to the activity of a person or application."""
        name = row.user_email
        if not name:
            return badge(gettext("unknown"), QUIET)
        if name.startswith(MACHINE):
            url = reverse("admin:agents_agent_changelist", query={"q": name.removeprefix(MACHINE)})
        else:
            url = reverse("admin:usage_featureusage_changelist", query={"q": name})
        return format_html('<a href="{}">{}</a>', url, name)

    @admin.display(description=_("source"))
    def told_by(self, row: Any) -> str:
        return gettext("the portal") if row.source == PORTAL else row.source


# --- Sessions --------------------------------------------------------------------------------------------------------


@admin.register(UserSession)
class UserSessionAdmin(ActivityAdmin):
    menu_group = "system"
    purpose = _("Each sign-in to the portal or to an application, with its duration.")
    empty_link = ("admin:usage_featureusage_changelist", _("View feature uses"))
    sortable_by = ("session_start",)
    list_display = (
        moment_column("session_start", _("started"), ordering="session_start"),
        "who",
        "lasted",
        "user_agent",
        "ip",
        "told_by",
    )
    list_display_links = ("who",)
    list_filter = (SessionStartFilter, SessionStateFilter)
    search_fields = ("user_email__fragment",)
    search_help_text = search_by(_("e-mail address"))
    facts = (
        "caller_link",
        moment_column("session_start", _("started"), show=exact_moment),
        moment_column("session_end", _("ended"), show=exact_moment, empty=_("open (no sign-out)")),
        "lasted",
        "user_agent",
        "ip",
        "told_by",
        clock_note,
    )

    @admin.display(description=_("duration"))
    def lasted(self, session: UserSession) -> SafeString | str:
        if session.session_end is None:
            return badge(pgettext("session", "open"), QUIET)
        if session.duration_seconds is None:
            return EMPTY_VALUE
        return format_span(timedelta(seconds=session.duration_seconds))


# --- Feature uses ------------------------------------------------------------------------------------------------


@admin.register(FeatureUsage)
class FeatureUsageAdmin(ActivityAdmin):
    menu_group = "system"
    purpose = _("Each request to the portal, and each use of a feature that an application reports.")
    empty_link = ("admin:portal_apitoken_add", _("Issue a token"))
    sortable_by = ("timestamp",)
    list_display = (
        moment_column("timestamp", _("time"), ordering="timestamp"),
        "what",
        "who",
        "outcome",
        "took",
        "told_by",
    )
    list_display_links = ("what",)
    list_filter = (WhenFilter, CallerFilter, FeatureOutcomeFilter)
    search_fields = ("user_email__fragment", "feature_name__fragment")
    search_help_text = search_by(_("e-mail address"), _("machine"), _("application"), _("feature"))
    facts = (
        "feature_name",
        "endpoint",
        "caller_link",
        moment_column("timestamp", _("time"), show=exact_moment),
        "outcome",
        "took",
        "told_by",
        clock_note,
    )

    def title_of(self, obj: FeatureUsage) -> str:
        return f"{feature_title(obj.feature_name)} {obj.user_email}".strip()

    @admin.display(description=_("feature"))
    def what(self, use: FeatureUsage) -> SafeString:
        return stack_lines(use.feature_name, use.endpoint)

    @admin.display(description=_("outcome"))
    def outcome(self, use: FeatureUsage) -> SafeString:
        return badge(gettext("succeeded"), GOOD) if use.success else badge(gettext("failed"), BAD)

    @admin.display(description=_("duration"))
    def took(self, use: FeatureUsage) -> str:
        return (
            EMPTY_VALUE
            if use.duration_ms is None
            else gettext("%(count)s ms") % {"count": format_count(use.duration_ms)}
        )


# --- Errors ----------------------------------------------------------------------------------------------------------


@admin.register(UserError)
class UserErrorAdmin(ActivityAdmin):
    menu_order = 3
    purpose = _("Failed requests to the portal, and errors that applications report.")
    empty_link = ("admin:usage_featureusage_changelist", _("View feature uses"))
    sortable_by = ("timestamp",)
    list_display = (
        moment_column("timestamp", _("time"), ordering="timestamp"),
        "what",
        "code",
        "who",
        "where",
        "told_by",
    )
    list_display_links = ("what",)
    list_filter = (WhenFilter, CallerFilter, CodeFilter)
    search_fields = ("user_email__fragment",)
    search_help_text = search_by(_("e-mail address"), _("machine"), _("application"))
    facts = (
        "what",
        "meaning",
        "code",
        "where",
        "caller_link",
        moment_column("timestamp", _("time"), show=exact_moment),
        "told_by",
        clock_note,
    )

    def get_sections(self, request: HttpRequest, obj: UserError) -> list[Section]:
        return [stack_section(obj), related_errors_section(obj)]

    def title_of(self, obj: UserError) -> str:
        known = CODES.get(obj.error_type)
        return f"{known.title if known else obj.error_type} {obj.endpoint}"

    @admin.display(description=_("error"))
    def what(self, error: UserError) -> SafeString:
        known = CODES.get(error.error_type)
        return stack_lines(known.title, error.error_type) if known else stack_lines(error.error_type)

    @admin.display(description=_("code"))
    def code(self, error: UserError) -> SafeString | str:
        if error.error_code is None:
            return EMPTY_VALUE
        return badge(error.error_code, BAD if error.error_code >= 500 else WARNING)

    @admin.display(description=_("endpoint"))
    def where(self, error: UserError) -> str:
        return format_endpoint(error) or EMPTY_VALUE

    @admin.display(description=_("explanation"))
    def meaning(self, error: UserError) -> str:
        if error.error_message:
            return error.error_message
        return gettext("Known only to the application that reported it.") if error.source != PORTAL else EMPTY_VALUE


def stack_section(error: UserError) -> Section:
    """List the frames, innermost first."""
    frames = [frame.rsplit(":", 2) for frame in reversed(error.stack)]
    return Section(
        title=gettext("Stack trace"),
        columns=[gettext("Module"), gettext("Function"), gettext("Line")],
        rows=[[*frame] for frame in frames if len(frame) == 3],
        empty=gettext("None: a rejected request has no stack trace."),
    )


def related_errors_section(error: UserError) -> Section:
    """List the other errors of the same caller, newest first."""
    same = UserError.objects.filter(user_email=error.user_email).exclude(pk=error.pk).order_by("-id")
    return Section(
        title=gettext("Other errors of this caller"),
        columns=[gettext("Time"), gettext("Error"), gettext("Code"), gettext("Endpoint")],
        rows=[
            [other.timestamp, other.error_type, other.error_code or EMPTY_VALUE, format_endpoint(other)]
            for other in same[:SHOWN_ERRORS]
        ],
        url=reverse("admin:usage_usererror_changelist", query={"q": error.user_email}) if error.user_email else "",
        empty=gettext("No other errors."),
    )
