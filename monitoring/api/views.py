"""Views of `/api/v1/monitoring/`."""

from typing import Any

from django.db.models import QuerySet
from django.http import HttpResponse
from django.utils import timezone
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiResponse, extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from monitoring.api.serializers import PAUSED, StatusAnswer, TargetsAnswer, TargetsQuerySerializer
from monitoring.figures import badge
from monitoring.figures.uptime import UptimeFigures, load_figures, round_uptime
from monitoring.models import Incident, Round, Target
from monitoring.panels import StateCounts, count_states
from portal.api.pagination import PAGE_PARAMETERS, CursorPagination
from portal.api.views import ApiView, Kind
from portal.base.moments import format_iso
from portal.base.problems import Problem
from portal.models import ApiToken
from portal.notifications import in_portal_language

WINDOW = "24h"
SHOWN_INCIDENTS = 100
BADGE_SECONDS = 60


class TargetsView(ApiView):
    """A page of targets with their figures of the last 24 hours, newest first."""

    kinds = frozenset({Kind.STAFF})
    staff_permission = "monitoring.view_target"

    @extend_schema(parameters=[TargetsQuerySerializer, *PAGE_PARAMETERS], responses={200: TargetsAnswer})
    def get(self, request: Request) -> Response:
        query = TargetsQuerySerializer(data=request.query_params)
        query.is_valid(raise_exception=True)
        pagination = CursorPagination()
        targets = filter_targets(query.validated_data.get("state"))
        page: list[Target] = pagination.paginate_queryset(targets, request, view=self) or []
        found = load_figures([target.pk for target in page], timezone.now(), [WINDOW])
        results = [serialize_target(target, found[target.pk][WINDOW]) for target in page]
        return pagination.get_paginated_response(results)


class StatusView(ApiView):
    """Overall state: the targets, the open incidents, and the last round."""

    kinds = frozenset({Kind.STAFF})
    staff_permission = "monitoring.view_target"

    @extend_schema(responses={200: StatusAnswer})
    def get(self, request: Request) -> Response:
        states = count_states(timezone.now())
        targets = serialize_states(states)
        incidents = Incident.objects.open()
        total, last = incidents.count(), Round.objects.latest_first().first()
        newest = incidents.select_related("target")[:SHOWN_INCIDENTS]
        body = {
            "state": overall_state(targets, is_degraded=bool(states.slow or total)),
            "targets": targets,
            "open_incidents": [serialize_incident(incident) for incident in newest],
            "open_incidents_total": total,
            "last_round": serialize_round(last) if last else None,
        }
        return Response(body)


class BadgeView(ApiView):
    """The badge of one target, for anyone with its address."""

    authentication_classes = ()
    refusals = ("not_found",)

    def refuse_unfit(self, user: Any, token: ApiToken | None) -> None:
        """Accept anyone: the key in the address is the credential."""

    @extend_schema(responses={(200, "image/svg+xml"): OpenApiResponse(OpenApiTypes.STR, "The picture")}, auth=[])
    def get(self, request: Request, key: str) -> HttpResponse:
        target = badge.find_published(key)
        if target is None:
            raise Problem("not_found")
        with in_portal_language():
            picture = badge.render_badge(target)
        headers = {"Cache-Control": f"public, max-age={BADGE_SECONDS}"}
        return HttpResponse(picture, content_type="image/svg+xml", headers=headers)


# --- Targets ---------------------------------------------------------------------------------------------------------


def filter_targets(state: str | None) -> QuerySet[Target]:
    if not state:
        return Target.objects.all()
    if state == PAUSED:
        return Target.objects.filter(is_active=False)
    return Target.objects.active().filter(state=state)


def serialize_target(target: Target, found: UptimeFigures) -> dict[str, Any]:
    return {
        "id": target.pk,
        "name": target.name,
        "url": target.url,
        "interval": target.interval,
        "state": target.state if target.is_active else PAUSED,
        "uptime_24h": round_uptime(found.uptime),
        "p50_ms": round_latency(found.p50_ms),
        "p95_ms": round_latency(found.p95_ms),
        "p99_ms": round_latency(found.p99_ms),
        "last_check_at": format_iso(target.last_check_at),
    }


def round_latency(latency_ms: float | None) -> float | None:
    return None if latency_ms is None else round(latency_ms, 1)


# --- The whole -------------------------------------------------------------------------------------------------------


def serialize_states(states: StateCounts) -> dict[str, int]:
    """Return the number of targets by state. Here unstable, failing and overdue ones are up as well."""
    up = states.watched - states.down - states.unknown
    return {"up": up, "down": states.down, "paused": states.paused, "unknown": states.unknown}


def overall_state(targets: dict[str, int], *, is_degraded: bool) -> str:
    """Return the worst state, or `unknown` if no active target was ever checked."""
    if targets["down"]:
        return "down"
    if is_degraded:
        return "degraded"
    return "up" if targets["up"] else "unknown"


def serialize_incident(incident: Incident) -> dict[str, Any]:
    return {
        "id": incident.pk,
        "target": incident.name,
        "rule": incident.rule,
        "opened_at": format_iso(incident.opened_at),
        "acknowledged_at": format_iso(incident.acknowledged_at),
    }


def serialize_round(last: Round) -> dict[str, Any]:
    return {
        "at": format_iso(last.finished_at),
        "checks": last.checks,
        "failures": last.failures,
        "error_rate": None if last.error_rate is None else round(last.error_rate, 4),
        "p95_ms": round_latency(last.p95_ms),
    }
