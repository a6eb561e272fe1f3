"""The views of `/api/v1/agents/`."""

from __future__ import annotations

import re
from typing import Any

from django.utils import timezone
from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response
from vigie_client.contract import MACHINE_ID

from agents import enrolment
from agents.api.representation import describe_agent, describe_agent_for, group_by_status
from agents.api.serializers import (
    AgentAnswer,
    EnrollAnswer,
    EnrollSerializer,
    FleetAnswer,
    FleetQuerySerializer,
    HeartbeatAnswer,
    HeartbeatSerializer,
    RotateAnswer,
    UninstallAnswer,
    UninstallSerializer,
)
from agents.authentication import RepeatableUninstallAuthentication
from agents.heartbeat import has_changes, next_heartbeat_seconds, record_changes
from agents.models import Agent
from portal.api.pagination import PAGE_PARAMETERS, CursorPagination
from portal.api.views import ApiView, HotView, Kind, request_token
from portal.base.moments import format_iso
from portal.base.problems import Problem
from portal.models import ApiToken

# OpenAPI security of the uninstall call. By default its own authentication class would be listed beside the usual one.
SCHEMA_AUTH: Any = [{"token": []}]


class EnrollView(ApiView):
    """Enrols a machine, or lets it come back; the answer carries the machine's token, this once."""

    kinds = frozenset({Kind.ENROLL, Kind.AGENT})
    refusals = (
        "machine_mismatch",
        "token_exhausted",
        "agent_already_active",
        "approval_required",
        "reactivation_forbidden",
    )

    @extend_schema(request=EnrollSerializer, responses={201: EnrollAnswer})
    def post(self, request: Request) -> Response:
        fields = EnrollSerializer(data=self.body(request))
        fields.is_valid(raise_exception=True)
        result = enrolment.enrol_machine(fields.validated_data, request_token(request), request._request)
        body = {
            "status": result.status,
            "machine_id": result.agent.machine_id,
            "api_token": result.api_token,
            "agent": describe_agent(result.agent),
        }
        return Response(body, status=201)


class UninstallView(ApiView):
    """Marks a machine uninstalled and revokes its tokens; may be repeated."""

    kinds = frozenset({Kind.AGENT, Kind.STAFF, Kind.ENROLL})
    staff_permission = "agents.uninstall_agent"
    enroll_scope = ApiToken.Scope.UNINSTALL
    refusals = ("machine_mismatch", "agent_unknown")
    authentication_classes = [RepeatableUninstallAuthentication, *ApiView.authentication_classes[1:]]

    @extend_schema(request=UninstallSerializer, responses={200: UninstallAnswer}, auth=SCHEMA_AUTH)
    def post(self, request: Request) -> Response:
        fields = UninstallSerializer(data=self.body(request))
        fields.is_valid(raise_exception=True)
        machine_id, reason = (fields.validated_data.get(name) for name in ("machine_id", "reason"))
        agent = enrolment.uninstall_machine(machine_id, reason or "", request_token(request), request._request)
        described = describe_agent_for(request_token(request), agent)
        return Response({"status": "uninstalled", "machine_id": agent.machine_id, "agent": described})


class FleetPagination(CursorPagination):
    ordering = ("-enrolled_at", "-id")  # type: ignore[assignment]


class FleetView(ApiView):
    """A page of machines, newest enrolment first, split by status, with the totals of the whole fleet."""

    kinds = frozenset({Kind.STAFF})
    staff_permission = "agents.view_agent"

    @extend_schema(parameters=[FleetQuerySerializer, *PAGE_PARAMETERS], responses={200: FleetAnswer})
    def get(self, request: Request) -> Response:
        query = FleetQuerySerializer(data=request.query_params)
        query.is_valid(raise_exception=True)
        now, filters = timezone.now(), query.validated_data
        pagination = FleetPagination()
        page: list[Agent] = pagination.paginate_queryset(filter_fleet(filters), request, view=self) or []
        body: dict[str, Any] = group_by_status(page, now)
        return Response(body | {"totals": Agent.objects.totals(now), "next": pagination.get_next_link()})


class AgentView(ApiView):
    """One machine."""

    kinds = frozenset({Kind.STAFF, Kind.AGENT})
    staff_permission = "agents.view_agent"
    refusals = ("machine_mismatch", "agent_unknown")

    @extend_schema(responses={200: AgentAnswer})
    def get(self, request: Request, machine_id: str) -> Response:
        if not re.fullmatch(MACHINE_ID, machine_id):
            raise Problem("agent_unknown")
        return Response({"agent": describe_agent(enrolment.find_machine(machine_id, request_token(request)))})


class RotateView(ApiView):
    """A new token for the calling machine; the one it called with stays valid 24 hours."""

    kinds = frozenset({Kind.AGENT})

    @extend_schema(request=None, responses={200: RotateAnswer})
    def post(self, request: Request) -> Response:
        agent = request_token(request).machine.agent
        rotated = enrolment.rotate_token(agent, request_token(request), request._request)
        body = {
            "machine_id": agent.machine_id,
            "api_token": rotated.api_token,
            "previous_valid_until": format_iso(rotated.previous_valid_until),
        }
        return Response(body)


class HeartbeatView(HotView):
    """A machine says that it is there and, where that changed, what it runs."""

    kinds = frozenset({Kind.AGENT})

    @extend_schema(request=HeartbeatSerializer, responses={200: HeartbeatAnswer})
    def post(self, body: dict[str, Any], token: ApiToken) -> tuple[int, dict[str, Any]]:
        agent = token.machine.agent
        if has_changes(agent, body):
            fields = HeartbeatSerializer(data=body)
            fields.is_valid(raise_exception=True)
            record_changes(agent, fields.validated_data, self.request)
        now = format_iso(timezone.now())
        return 200, {"status": "ok", "server_time": now, "next_heartbeat_seconds": next_heartbeat_seconds()}


def filter_fleet(filters: dict[str, Any]) -> Any:
    machines = Agent.objects.all()
    if filters.get("status"):
        machines = machines.filter(status=filters["status"])
    if filters.get("version"):
        machines = machines.filter(version=filters["version"])
    return machines.matching(filters["search"]) if filters.get("search") else machines
