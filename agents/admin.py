"""Machines and enrolment requests: lists, pages and actions."""

from __future__ import annotations

from datetime import datetime

from django.contrib import admin, messages
from django.db.models import Q, QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.utils import timezone
from django.utils.safestring import SafeString
from django.utils.translation import gettext_lazy as _
from django.utils.translation import ngettext, pgettext_lazy

from agents import approval, enrolment
from agents.confirmations import describe_binding, describe_discarding, describe_revocation, describe_uninstall
from agents.models import Agent, EnrolmentRequest
from agents.panels import heartbeat_section, token_section
from agents.querysets import EnrolmentRequestQuerySet, liveness_condition
from portal import audit
from portal.access.tokens.issuing import revoke_token
from portal.admin.base import ReadOnlyAdmin
from portal.admin.confirm import MOST_AT_ONCE, confirm_first, find_rows
from portal.admin.display import BAD, GOOD, QUIET, WARNING, badge, exact_moment, moment_column
from portal.admin.filters import ChoiceFilter, FieldFilter
from portal.admin.searching import search_by
from portal.audit import EVENT_TEXTS, SUBJECTS, SubjectKind
from portal.base.words import EMPTY_VALUE, format_moment
from portal.desk.history import history_section
from portal.desk.panels import Section, sections_of_machine

LIVENESS_TONES = {Agent.Liveness.ONLINE: GOOD, Agent.Liveness.LATE: WARNING, Agent.Liveness.LOST: BAD}
SUBJECTS["agent"] = SubjectKind("agents.agent", lambda name: {"machine_id": name})
EVENT_TEXTS.update(
    {
        "agent.enrolled": _("Enrolled"),
        "agent.reactivated": _("Re-enrolled after uninstall"),
        "agent.replayed": _("Token issued again for a repeated enrolment"),
        "agent.replayed_elsewhere": _("Token issued again, under another host name"),
        "agent.renamed": _("Host name changed"),
        "agent.changed": _("Details changed"),
        "agent.token_rotated": _("Token rotated"),
        "agent.tokens_revoked": _("Tokens revoked"),
        "agent.reenrolment_allowed": _("Re-enrolment allowed"),
        "agent.enrolment_allowed": _("Enrolment allowed"),
        "agent.enrolment_discarded": _("Enrolment request discarded"),
        "agent.bound": _("Licence binding changed"),
        "agent.uninstalled": _("Uninstalled"),
        "refused.agent_already_active": _("Denied: the machine is already enrolled"),
        "refused.approval_required": _("Denied: an operator must allow the enrolment first"),
        "refused.reactivation_forbidden": _("Denied: the machine was uninstalled and must not be re-enrolled"),
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
    title = _("online status")
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


@admin.register(Agent)
class AgentAdmin(ReadOnlyAdmin):
    menu_order = 1
    purpose = _("Computers that report to the portal. They appear here when they enrol with an enrolment token.")
    empty_link = ("admin:connect", _("Connect an application"))
    ordering = ("-enrolled_at", "-id")
    sortable_by = ("machine_id", "liveness", "version", "user", "last_seen_at", "enrolled_at")
    list_display = (
        "machine_id",
        "liveness",
        "version",
        moment_column("last_seen_at", _("last seen"), ordering="last_seen_at"),
        "user",
        "os_info",
        moment_column("enrolled_at", _("enrolled"), ordering="enrolled_at"),
    )
    list_filter = (StatusFilter, LivenessFilter, LicenceFilter)
    is_large = True
    search_fields = (
        "name__fragment", "hostname__fragment", "user_name__fragment", "user_email__fragment", "version__begins",
    )  # fmt: skip
    search_help_text = search_by(_("machine"), _("host name"), _("user"), _("e-mail"), _("version"))
    actions = (
        "uninstall_chosen",
        "revoke_tokens",
        "allow_reenrolment",
        "bind_licence",
        "export_chosen",
        "export_chosen_xlsx",
    )
    object_actions = ("allow_reenrolment", "bind_licence", "revoke_tokens", "uninstall_chosen")
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

    @admin.display(description=_("status"), ordering="last_seen_at")
    def liveness(self, agent: Agent) -> SafeString:
        return liveness_badge(agent, timezone.now())

    @admin.display(description=_("user"), ordering="user_name")
    def user(self, agent: Agent) -> str:
        return agent.user_name or agent.user_email or agent.user_id

    @admin.display(description=_("licence"))
    def bound_to(self, agent: Agent) -> str:
        return agent.license_ref or EMPTY_VALUE

    def get_sections(self, request: HttpRequest, obj: Agent) -> list[Section]:
        machine_id, heartbeats = obj.machine_id, heartbeat_section(obj, timezone.now())
        return [
            *([heartbeats] if heartbeats else []),
            token_section(obj),
            *sections_of_machine(machine_id),
            history_section(enrolment.machine_subject(machine_id)),
        ]

    # --- Actions -----------------------------------------------------------------------------------------------------

    def has_uninstall_permission(self, request: HttpRequest) -> bool:
        return bool(request.user.has_perm("agents.uninstall_agent"))

    def can_act(self, obj: Agent, action: str) -> bool:
        return obj.is_active

    @confirm_first(describe_uninstall)
    @admin.action(description=_("Uninstall…"), permissions=["uninstall"])
    def uninstall_chosen(self, request: HttpRequest, queryset: QuerySet[Agent]) -> None:
        machines, reason = list(queryset), request.confirmed_form.cleaned_data["reason"]  # type: ignore[attr-defined]
        for agent in machines:
            enrolment.mark_uninstalled(agent, reason, None, request)
        count = len(machines)
        text = ngettext("%(count)d machine was uninstalled.", "%(count)d machines were uninstalled.", count)
        self.message_user(request, text % {"count": count}, messages.SUCCESS)

    uninstall_chosen.dangerous = True  # type: ignore[attr-defined]

    @confirm_first(describe_revocation)
    @admin.action(description=_("Revoke tokens…"), permissions=["manage"])
    def revoke_tokens(self, request: HttpRequest, queryset: QuerySet[Agent]) -> None:
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

    @admin.action(description=_("Allow re-enrolment (15 min)"), permissions=["manage"])
    def allow_reenrolment(self, request: HttpRequest, queryset: QuerySet[Agent]) -> None:
        machines = find_rows(self, request, queryset, "allow_reenrolment")
        if not machines:
            return
        deadlines = [enrolment.allow_reenrolment(agent, request) for agent in machines]
        text = ngettext(
            "Re-enrolment of %(count)d machine allowed until %(until)s.",
            "Re-enrolment of %(count)d machines allowed until %(until)s.",
            len(deadlines),
        )
        self.message_user(
            request, text % {"count": len(deadlines), "until": format_moment(max(deadlines))}, messages.SUCCESS
        )

    @confirm_first(describe_binding)
    @admin.action(description=_("Bind to a licence…"), permissions=["manage"])
    def bind_licence(self, request: HttpRequest, queryset: QuerySet[Agent]) -> None:
        ref = request.confirmed_form.cleaned_data["license_ref"]  # type: ignore[attr-defined]
        count = sum(enrolment.bind_to_licence(agent, ref, request) for agent in queryset)
        text = ngettext(
            "%(count)d machine was bound to %(licence)s.", "%(count)d machines were bound to %(licence)s.", count
        )
        values = {"count": count, "licence": ref or _("any licence")}
        self.message_user(request, text % values, messages.SUCCESS if count else messages.WARNING)


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
    menu_order = 2
    purpose = _(
        "Machines that other data depends on, such as backups, are enrolled only after an operator allows it. Their "
        "requests appear here."
    )
    ordering = ("-last_asked_at",)
    sortable_by = ("machine_id", "asked_at", "last_asked_at")
    list_display = (
        "machine_id",
        "state",
        "token",
        "address",
        moment_column("asked_at", _("first requested"), ordering="asked_at"),
        moment_column("last_asked_at", _("last requested"), ordering="last_asked_at"),
    )
    list_filter = (RequestStateFilter,)
    list_select_related = ("token",)
    search_fields = ("name__fragment",)
    search_help_text = search_by(_("machine"))
    actions = ("allow_enrolment", "discard", "export_chosen", "export_chosen_xlsx")
    object_actions = ("allow_enrolment", "discard")
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

    @admin.action(description=_("Allow enrolment (15 min)"), permissions=["manage"])
    def allow_enrolment(self, request: HttpRequest, queryset: EnrolmentRequestQuerySet) -> None:
        chosen = list(queryset.select_related("token")[: MOST_AT_ONCE + 1])
        for requested in chosen[:MOST_AT_ONCE]:
            until = approval.allow_enrolment(requested, enrolment.machine_subject(requested.machine_id), request)
            text = _("Enrolment of %(machine)s with the token “%(token)s” allowed until %(until)s.")
            values = {"machine": requested.machine_id, "until": format_moment(until), "token": requested.token.name}
            self.message_user(request, text % values, messages.SUCCESS)
        if len(chosen) > MOST_AT_ONCE:
            text = _("Only the first %(count)d requests were allowed: choose fewer at once.")
            self.message_user(request, text % {"count": MOST_AT_ONCE}, messages.WARNING)

    @confirm_first(describe_discarding)
    @admin.action(description=pgettext_lazy("request", "Discard…"), permissions=["manage"])
    def discard(self, request: HttpRequest, queryset: EnrolmentRequestQuerySet) -> HttpResponse:
        for requested in queryset:
            subject = enrolment.machine_subject(requested.machine_id)
            audit.record_event("agent.enrolment_discarded", subject, request=request)
        count = queryset.delete()[0]
        text = ngettext("%(count)d request was discarded.", "%(count)d requests were discarded.", count)
        self.message_user(request, text % {"count": count}, messages.SUCCESS)
        return HttpResponseRedirect(self.address("changelist"))

    discard.dangerous = True  # type: ignore[attr-defined]
