"""The audit trail, read-only."""

from datetime import datetime
from typing import Any

from django.apps import apps
from django.contrib import admin, messages
from django.contrib.admin.utils import quote
from django.core.exceptions import PermissionDenied
from django.db.models import Q
from django.http import Http404, HttpRequest, HttpResponseRedirect
from django.urls import path, reverse
from django.utils.translation import gettext_lazy as _

from portal.admin.base import ReadOnlyAdmin
from portal.admin.display import exact_moment, moment_column
from portal.admin.filters import ChoiceFilter, PeriodFilter
from portal.admin.searching import search_by
from portal.audit import SUBJECTS
from portal.base.words import EMPTY_VALUE
from portal.desk.history import (
    changes_of,
    chosen_keys,
    describe_changes,
    describe_event,
    describe_subject,
    link_subject,
    name_events,
)
from portal.desk.matching import any_of
from portal.models import AuditEvent


class FamilyFilter(ChoiceFilter):
    title = _("event")
    parameter_name = "family"
    options = {
        "agent.": _("machines"),
        "token.": _("tokens"),
        "channel.": _("notification channels"),
        "backups.": _("backups"),
        "expectedbackupjob.": _("expected backups"),
        "monitoring.": _("monitoring"),
        "target.": _("targets"),
        "maintenancewindow.": _("maintenance windows"),
        "licence.": _("licences"),
        "usage.": _("usage"),
        "user.": _("users"),
        "group.": _("groups"),
        "admin.": _("admin actions"),
        "finding.": _("issues"),
        "privacy.": _("personal data"),
        "refused.": _("denied requests"),
    }

    def condition(self, value: str, now: datetime) -> Q:
        return Q(action__begins=value)


class WhenFilter(PeriodFilter):
    title = _("time")
    parameter_name = "when"
    field = "at"


@admin.register(AuditEvent)
class AuditEventAdmin(ReadOnlyAdmin):
    menu_order = 5
    ordering = ("-id",)
    sortable_by = ("at",)
    purpose = _("Changes, actions, sign-ins and refusals. Entries are written by the portal and never changed.")
    list_display = (
        moment_column("at", _("time"), ordering="at"), "what", "object", "details", "who", "address", "count",
    )  # fmt: skip
    list_display_links = ("what",)
    list_filter = (WhenFilter, FamilyFilter)
    is_log = True
    search_fields = ("subject__fragment", "actor__fragment")
    search_help_text = search_by(_("machine"), _("token"), _("backup"), _("user"))
    facts = (
        "what",
        "details_in_lines",
        "object",
        "who",
        "address",
        moment_column("at", _("time"), show=exact_moment),
        "count",
        moment_column("last_at", _("last time"), show=exact_moment),
        "code",
    )

    def indexed_matches(self, text: str) -> Q:
        """Find subjects by their beginning, with or without the kind before it, which is in small letters."""
        beginnings = {text, *(f"{kind}:{name}" for kind in SUBJECTS for name in (text, text.upper()))}
        return any_of(Q(subject__begins=beginning) for beginning in sorted(beginnings))

    def get_urls(self) -> list[Any]:
        own = path("subject/", self.admin_site.admin_view(self.subject_view), name="portal_auditevent_subject")
        return [own, *super().get_urls()]

    def subject_view(self, request: HttpRequest) -> HttpResponseRedirect:
        """Lead from a subject or actor to its page, if the user may see it and it still exists."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        name = request.GET.get("name", "")
        prefix, _colon, rest = name.partition(":")
        kind = SUBJECTS.get(prefix)
        if kind is None or "\0" in rest:
            raise Http404
        model = apps.get_model(kind.model)
        model_admin = self.admin_site.get_model_admin(model)
        if not model_admin.has_view_or_change_permission(request):
            raise PermissionDenied
        found = list(model._default_manager.filter(**kind.find(rest)).order_by("-pk")[:2])
        page = f"admin:{model._meta.app_label}_{model._meta.model_name}"
        if len(found) > 1:  # such as tokens with the same label
            return HttpResponseRedirect(reverse(f"{page}_changelist", query={"q": rest}))
        if found:
            return HttpResponseRedirect(reverse(f"{page}_change", args=[quote(found[0].pk)]))
        text = _("%(name)s no longer exists. These are the events about it.") % {"name": rest}
        self.message_user(request, text, messages.WARNING)
        return HttpResponseRedirect(reverse("admin:portal_auditevent_changelist", query={"q": name}))

    def prepare_rows(self, request: HttpRequest, rows: list[AuditEvent]) -> None:
        name_events(request, rows)

    def get_object(self, request: HttpRequest, object_id: str, from_field: str | None = None) -> AuditEvent | None:
        event: AuditEvent | None = super().get_object(request, object_id, from_field)
        name_events(request, [event] if event else [])
        return event

    def title_of(self, obj: AuditEvent) -> str:
        name = describe_subject(obj.subject, obj.subject_name) if obj.subject else ""  # type: ignore[attr-defined]
        return f"{describe_event(obj)}: {name}" if name else describe_event(obj)

    # --- Columns and facts -------------------------------------------------------------------------------------------

    @admin.display(description=_("event"))
    def what(self, event: AuditEvent) -> str:
        return describe_event(event)

    @admin.display(description=_("code"))
    def code(self, event: AuditEvent) -> str:
        return event.action

    @admin.display(description=_("details"))
    def details(self, event: AuditEvent) -> str:
        return describe_changes(event)

    @admin.display(description=_("details"))
    def details_in_lines(self, event: AuditEvent) -> str:
        return "\n".join([*changes_of(event), *chosen_keys(event)]) or EMPTY_VALUE

    @admin.display(description=_("object"))
    def object(self, event: AuditEvent) -> str:
        own: Any = event
        return link_subject(own.subject, own.subject_name, links_issues=own.links_issues)

    @admin.display(description=_("actor"))
    def who(self, event: AuditEvent) -> str:
        return link_subject(event.actor, event.actor_name)  # type: ignore[attr-defined]
