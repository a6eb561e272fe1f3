"""Machines and enrolment requests: lists, pages and actions."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from django import forms
from django.contrib import admin, messages
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.core.validators import RegexValidator
from django.db.models import Q, QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.utils import timezone
from django.utils.safestring import SafeString
from django.utils.translation import gettext_lazy as _
from django.utils.translation import ngettext
from vigie_client.contract import IDENTIFIER

from agents import approval, enrolment
from agents.models import Agent, EnrolmentRequest
from agents.panels import token_section
from agents.querysets import EnrolmentRequestQuerySet, liveness_condition
from portal import audit
from portal.access.tokens.issuing import revoke_token
from portal.admin.base import ReadOnlyAdmin, begins_with
from portal.admin.display import BAD, GOOD, QUIET, WARNING, badge, exact_moment, moment_column
from portal.admin.filters import ChoiceFilter, FieldFilter
from portal.audit import EVENT_TEXTS
from portal.base.words import EMPTY_VALUE, format_moment
from portal.desk.history import history_section
from portal.desk.panels import Section, sections_of_machine

LIVENESS_TONES = {Agent.Liveness.ONLINE: GOOD, Agent.Liveness.LATE: WARNING, Agent.Liveness.LOST: BAD}
MOST_AT_ONCE = 500
EVENT_TEXTS.update(
    {
        "agent.enrolled": _("Enrolled"),
        "agent.reactivated": _("Came back after it was uninstalled"),
        "agent.replayed": _("Was given its token once more"),
        "agent.replayed_elsewhere": _("Was given its token once more, under another host name"),
        "agent.renamed": _("Reported another host name"),
        "agent.changed": _("Reported a change"),
        "agent.token_rotated": _("Changed its token"),
        "agent.tokens_revoked": _("Its tokens were revoked"),
        "agent.reenrolment_allowed": _("Was allowed one re-enrolment"),
        "agent.enrolment_allowed": _("Was allowed to enrol"),
        "agent.enrolment_discarded": _("Its request to be enrolled was discarded"),
        "agent.bound": _("Was bound to a licence, or no longer is"),
        "agent.uninstalled": _("Uninstalled"),
        "refused.agent_already_active": _("Refused: the machine is enrolled already"),
        "refused.approval_required": _("Refused: an operator must allow the enrolment first"),
        "refused.reactivation_forbidden": _("Refused: the machine was uninstalled and may not come back"),
    }
)


def liveness_badge(agent: Agent, now: datetime) -> SafeString:
    liveness = agent.liveness(now)
    if liveness is None:
        return badge(agent.get_status_display(), QUIET)
    return badge(Agent.Liveness(liveness).label, LIVENESS_TONES[Agent.Liveness(liveness)])


class StatusFilter(FieldFilter):
    title = _("status")
    parameter_name = "status"
    field = "status"
    options = dict(Agent.Status.choices)


class LivenessFilter(ChoiceFilter):
    title = _("liveness")
    parameter_name = "liveness"
    options = dict(Agent.Liveness.choices)

    def condition(self, value: str, now: datetime) -> Q:
        return liveness_condition(value, now)


class LicenceFilter(ChoiceFilter):
    title = _("licence")
    parameter_name = "licence"
    options = {"bound": _("bound to a licence"), "any": _("any licence")}

    def condition(self, value: str, now: datetime) -> Q:
        return Q(license_ref="") if value == "any" else ~Q(license_ref="")


class LicenceBindingForm(forms.Form):
    license_ref = forms.CharField(
        label=_("Licence"),
        max_length=128,
        required=False,
        validators=[RegexValidator(rf"\A(?:{IDENTIFIER})\Z", _("Not a licence."))],
        help_text=_("As the application reports it, such as LIC-2041. Leave empty to allow any licence."),
    )


@admin.register(Agent)
class AgentAdmin(ReadOnlyAdmin):
    ordering = ("-enrolled_at", "-id")
    sortable_by = ("machine_id", "enrolled_at")
    list_display = (
        "machine_id",
        "liveness",
        "version",
        "user",
        "os_info",
        moment_column("last_seen_at", _("last seen")),
        moment_column("enrolled_at", _("enrolled"), ordering="enrolled_at"),
    )
    list_filter = (StatusFilter, LivenessFilter, LicenceFilter)
    search_fields = ("name__begins", "hostname__begins", "user_name__begins", "user_email__begins", "version__begins")
    search_help_text = begins_with(_("machine"), _("host name"), _("user"), _("e-mail"), _("version"))
    actions = ("uninstall_chosen", "revoke_tokens", "allow_reenrolment", "bind_licence", "export_chosen")
    object_actions = ("allow_reenrolment", "bind_licence", "revoke_tokens", "uninstall_chosen")
    export_columns = (
        "machine_id", "user_name", "user_email", "user_id", "hostname", "os_info", "version", "status", "enrolled_at",
        "last_seen_at", "uninstalled_at", "uninstall_reason", "license_ref",
    )  # fmt: skip
    titled_facts = (
        (
            _("Enrolment"),
            (
                "liveness",
                moment_column("last_seen_at", _("last seen"), show=exact_moment),
                moment_column("enrolled_at", _("enrolled"), show=exact_moment),
                "enrolled_with",
                moment_column("reenrolment_until", _("re-enrolment allowed until"), show=exact_moment),
                moment_column("uninstalled_at", _("uninstalled"), show=exact_moment),
                "uninstall_reason",
            ),
        ),
        (
            _("Identity"),
            ("machine_id", "hostname", "os_info", "version", "user_name", "user_email", "user_id", "bound_to"),
        ),
    )

    @admin.display(description=_("state"))
    def liveness(self, agent: Agent) -> SafeString:
        return liveness_badge(agent, timezone.now())

    @admin.display(description=_("user"))
    def user(self, agent: Agent) -> str:
        return agent.user_name or agent.user_email or agent.user_id

    @admin.display(description=_("bound to the licence"))
    def bound_to(self, agent: Agent) -> str:
        return agent.license_ref or EMPTY_VALUE

    def get_sections(self, request: HttpRequest, obj: Agent) -> list[Section]:
        machine_id = obj.machine_id
        return [
            token_section(obj),
            *sections_of_machine(machine_id),
            history_section(enrolment.machine_subject(machine_id)),
        ]

    # --- Actions -----------------------------------------------------------------------------------------------------

    def has_uninstall_permission(self, request: HttpRequest) -> bool:
        return bool(request.user.has_perm("agents.uninstall_agent"))

    def can_act(self, obj: Agent, action: str) -> bool:
        return obj.is_active

    def refuse_too_many(self, request: HttpRequest, queryset: QuerySet[Agent]) -> bool:
        """Return True after refusing to change a whole fleet at once, which would block all other writers."""
        if not queryset.order_by()[MOST_AT_ONCE : MOST_AT_ONCE + 1].exists():
            return False
        text = _("Choose at most %(count)d machines at once. Nothing was done.") % {"count": MOST_AT_ONCE}
        self.message_user(request, text, messages.ERROR)
        return True

    @admin.action(description=_("Uninstall…"), permissions=["uninstall"])
    def uninstall_chosen(self, request: HttpRequest, queryset: QuerySet[Agent]) -> HttpResponse | None:
        active = queryset.filter(status=Agent.Status.ACTIVE).order_by("machine_id")
        if self.refuse_too_many(request, active):
            return None
        if "confirmed" not in request.POST:
            return self.confirm(request, "agents/confirm_uninstall.html", active, title=_("Uninstall machines"))
        machines = list(active)
        for agent in machines:
            enrolment.mark_uninstalled(agent, request.POST.get("reason", "")[:255], None, request)
        count = len(machines)
        text = ngettext("%(count)d machine was uninstalled.", "%(count)d machines were uninstalled.", count)
        self.message_user(request, text % {"count": count}, messages.SUCCESS if count else messages.WARNING)
        return None

    uninstall_chosen.dangerous = True  # type: ignore[attr-defined]

    def confirm(self, request: HttpRequest, template: str, machines: QuerySet[Agent], **more: Any) -> HttpResponse:
        """Ask before an action. The page sends the action again, with `confirmed`."""
        context = {"machines": machines, "checkbox": ACTION_CHECKBOX_NAME, "opts": self.opts, **more}
        return TemplateResponse(request, template, self.admin_site.each_context(request) | context)

    @admin.action(description=_("Revoke tokens"), permissions=["manage"])
    def revoke_tokens(self, request: HttpRequest, queryset: QuerySet[Agent]) -> None:
        if self.refuse_too_many(request, queryset):
            return
        revoked = 0
        for agent in queryset:
            count = revoke_token(enrolment.tokens_of(agent), "operator", request=request)
            audit.record_event(
                "agent.tokens_revoked",
                enrolment.machine_subject(agent.machine_id),
                request=request,
                after={"tokens": count},
            )
            revoked += count
        text = ngettext("%(count)d token was revoked.", "%(count)d tokens were revoked.", revoked) % {"count": revoked}
        self.message_user(request, text, messages.SUCCESS if revoked else messages.WARNING)

    revoke_tokens.dangerous = True  # type: ignore[attr-defined]

    @admin.action(description=_("Allow one re-enrolment"), permissions=["manage"])
    def allow_reenrolment(self, request: HttpRequest, queryset: QuerySet[Agent]) -> None:
        machines = queryset.filter(status=Agent.Status.ACTIVE)
        if self.refuse_too_many(request, machines):
            return
        deadlines = [enrolment.allow_reenrolment(agent, request) for agent in machines]
        if not deadlines:
            self.message_user(request, _("An uninstalled machine may enrol anyway."), messages.WARNING)
            return
        text = ngettext(
            "%(count)d machine may enrol once more until %(until)s.",
            "%(count)d machines may enrol once more until %(until)s.",
            len(deadlines),
        )
        self.message_user(
            request, text % {"count": len(deadlines), "until": format_moment(max(deadlines))}, messages.SUCCESS
        )

    @admin.action(description=_("Bind to a licence…"), permissions=["manage"])
    def bind_licence(self, request: HttpRequest, queryset: QuerySet[Agent]) -> HttpResponse | None:
        machines = queryset.filter(status=Agent.Status.ACTIVE).order_by("machine_id")
        if self.refuse_too_many(request, machines):
            return None
        current = {agent.license_ref for agent in machines}
        proposed = {"license_ref": current.pop() if len(current) == 1 else ""}
        form = LicenceBindingForm(request.POST if "confirmed" in request.POST else None, initial=proposed)
        if not form.is_valid():
            title = _("Bind machines to a licence")
            return self.confirm(request, "agents/bind_licence.html", machines, title=title, form=form)
        ref = form.cleaned_data["license_ref"]
        count = sum(enrolment.bind_to_licence(agent, ref, request) for agent in machines)
        text = ngettext(
            "%(count)d machine was bound to %(licence)s.", "%(count)d machines were bound to %(licence)s.", count
        )
        values = {"count": count, "licence": ref or _("any licence")}
        self.message_user(request, text % values, messages.SUCCESS if count else messages.WARNING)
        return None


# --- Enrolment requests ----------------------------------------------------------------------------------------------


class RequestStateFilter(ChoiceFilter):
    title = _("status")
    parameter_name = "state"
    options = {"waiting": _("waiting"), "allowed": _("allowed")}

    def condition(self, value: str, now: datetime) -> Q:
        allowed = Q(allowed_until__gte=now)
        return allowed if value == "allowed" else ~allowed


@admin.register(EnrolmentRequest)
class EnrolmentRequestAdmin(ReadOnlyAdmin):
    ordering = ("-last_asked_at",)
    sortable_by = ()
    list_display = (
        "machine_id",
        "state",
        "token",
        "address",
        moment_column("asked_at", _("first requested")),
        moment_column("last_asked_at", _("last requested")),
    )
    list_filter = (RequestStateFilter,)
    list_select_related = ("token",)
    search_fields = ("name__begins",)
    search_help_text = begins_with(_("machine"))
    actions = ("allow_enrolment", "discard", "export_chosen")
    object_actions = ("allow_enrolment", "discard")
    export_columns = (
        "machine_id", "token__key", "token__label", "address", "asked_at", "last_asked_at", "allowed_until",
    )  # fmt: skip
    facts = (
        "machine_id",
        "state",
        moment_column("allowed_until", _("enrolment allowed until"), show=exact_moment),
        "token",
        "address",
        moment_column("asked_at", _("first requested"), show=exact_moment),
        moment_column("last_asked_at", _("last requested"), show=exact_moment),
    )

    @admin.display(description=_("status"))
    def state(self, obj: EnrolmentRequest) -> SafeString:
        return badge(_("allowed"), GOOD) if obj.is_allowed(timezone.now()) else badge(_("waiting"), WARNING)

    def get_sections(self, request: HttpRequest, obj: EnrolmentRequest) -> list[Section]:
        return [history_section(enrolment.machine_subject(obj.machine_id))]

    @admin.action(description=_("Allow for 15 minutes"), permissions=["manage"])
    def allow_enrolment(self, request: HttpRequest, queryset: EnrolmentRequestQuerySet) -> None:
        for requested in queryset.select_related("token")[:MOST_AT_ONCE]:
            until = approval.allow_enrolment(requested, enrolment.machine_subject(requested.machine_id), request)
            text = _("%(machine)s may enrol until %(until)s with the token “%(token)s”.")
            values = {"machine": requested.machine_id, "until": format_moment(until), "token": requested.token.name}
            self.message_user(request, text % values, messages.SUCCESS)

    @admin.action(description=_("Discard"), permissions=["manage"])
    def discard(self, request: HttpRequest, queryset: EnrolmentRequestQuerySet) -> HttpResponse:
        for requested in queryset:
            subject = enrolment.machine_subject(requested.machine_id)
            audit.record_event("agent.enrolment_discarded", subject, request=request)
        queryset.delete()
        self.message_user(request, _("The requests were discarded. The machines may ask again."), messages.SUCCESS)
        return HttpResponseRedirect(self.address("changelist"))
