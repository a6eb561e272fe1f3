"""The calls of `/api/v1/backups/`."""

from __future__ import annotations

import logging
from datetime import datetime
from typing import Any

from django.db import DatabaseError, transaction
from django.db.models import Q
from django.utils import timezone
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from agents import enrolment
from backups import deposits
from backups.api.serializers import (
    DepositAnswer,
    EntriesAnswer,
    JobsAnswer,
    JobsQuerySerializer,
    ScanAnswer,
    ScanSerializer,
)
from backups.cycles import next_expected_time
from backups.models import BackupEntry, ExpectedBackupJob, Scan
from backups.protection import protected
from backups.scanner import orchestration
from portal import audit
from portal.api.bodies import body_stream
from portal.api.pagination import PAGE_PARAMETERS, CursorPagination
from portal.api.schema import pattern_schema
from portal.api.views import ApiView, Kind, request_token
from portal.base.failures import error_line
from portal.base.moments import format_iso, format_iso_seconds
from portal.base.problems import Problem

log = logging.getLogger("vigie.backups")
NAMES = " ".join(f"In {name}: {area.expected}" for name, area in deposits.AREAS.items())
# The lookup of each query parameter.
FILTERS = {"agent_id": "agent_id__iexact", "status": "current_status", "database": "database_name"}


class DepositView(ApiView):
    """One file of the calling machine, as it is on its disk: a report into `log`, a packed dump into `database`."""

    kinds = frozenset({Kind.AGENT})
    refusals = ("checksum_mismatch", "machine_mismatch", "not_found")

    @extend_schema(
        request={"application/octet-stream": OpenApiTypes.BINARY},
        responses={201: DepositAnswer},
        parameters=[
            OpenApiParameter("area", str, OpenApiParameter.PATH, enum=list(deposits.AREAS)),
            OpenApiParameter("name", pattern_schema(deposits.NAME), OpenApiParameter.PATH, description=NAMES),
            OpenApiParameter(
                "X-Content-SHA256", pattern_schema(deposits.SHA256.pattern), OpenApiParameter.HEADER, required=True
            ),
        ],
    )
    def put(self, request: Request, area: str, name: str) -> Response:
        agent = request_token(request).machine.agent
        deposit = deposits.parse_announcement(area, name, agent, request._request.META)
        with deposits.awaiting_body(request._request, agent):
            deposits.store_deposit(deposit, agent, body_stream(request._request))
        if area == "log":
            request_scan(agent.machine_id)
        body = {"status": "stored", "name": deposit.name, "size": deposit.size, "sha256": deposit.sha256}
        return Response(body, status=201)


def request_scan(machine_id: str) -> None:
    """Request a scan of a stored report. An error would have the client upload it again; the periodic scan finds it."""
    try:
        orchestration.request_scan_after_report(machine_id)
    except DatabaseError as error:
        log.error("the scan of %s could not be queued: %s", machine_id, error_line(error))


class JobsView(ApiView):
    """A page of expected backups, newest first."""

    kinds = frozenset({Kind.STAFF})
    staff_permission = "backups.view_expectedbackupjob"

    @extend_schema(parameters=[JobsQuerySerializer, *PAGE_PARAMETERS], responses={200: JobsAnswer})
    def get(self, request: Request) -> Response:
        query = JobsQuerySerializer(data=request.query_params)
        query.is_valid(raise_exception=True)
        wanted = {FILTERS[name]: value for name, value in query.validated_data.items() if value}
        pagination, now = CursorPagination(), timezone.now()
        jobs = ExpectedBackupJob.objects.filter(**wanted).annotate(is_protected=Q(protected(now)))
        page: list[ExpectedBackupJob] = pagination.paginate_queryset(jobs, request, view=self) or []
        return pagination.get_paginated_response([serialize_job(job, now) for job in page])


class EntriesPagination(CursorPagination):
    ordering = ("-cycle_at", "-id")  # type: ignore[assignment]


class EntriesView(ApiView):
    """A page of what became of one expected backup, newest first."""

    kinds = frozenset({Kind.STAFF})
    staff_permission = "backups.view_backupentry"
    refusals = ("not_found",)

    @extend_schema(parameters=PAGE_PARAMETERS, responses={200: EntriesAnswer})
    def get(self, request: Request, job_id: int) -> Response:
        if not ExpectedBackupJob.objects.filter(pk=job_id).exists():
            raise Problem("not_found")
        pagination = EntriesPagination()
        entries = BackupEntry.objects.filter(job=job_id)
        page: list[BackupEntry] = pagination.paginate_queryset(entries, request, view=self) or []
        return pagination.get_paginated_response([serialize_entry(entry) for entry in page])


class ScanView(ApiView):
    """Has the deposits of all machines looked at, or those of one."""

    kinds = frozenset({Kind.STAFF})
    staff_permission = "backups.scan_expectedbackupjob"
    refusals = ("not_found",)

    @extend_schema(request=ScanSerializer, responses={202: ScanAnswer})
    def post(self, request: Request) -> Response:
        fields = ScanSerializer(data=self.body(request))
        fields.is_valid(raise_exception=True)
        agent_id = fields.validated_data.get("agent_id") or ""
        if agent_id and not ExpectedBackupJob.objects.of_machine(agent_id).exists():
            raise Problem("not_found", detail="No backup is expected of this machine.")
        with transaction.atomic():
            scan = orchestration.request_scan(Scan.Source.API, agent_id)
            subject = enrolment.machine_subject(agent_id) if agent_id else ""
            audit.record_event("backups.scan_asked", subject, request=request._request, after={"scan": scan.pk})
        return Response({"status": "queued"}, status=202)


def serialize_job(job: Any, now: datetime) -> dict[str, Any]:
    """Serialize a job that is annotated with `is_protected`."""
    return {
        "id": job.pk,
        "agent_id": job.agent_id,
        "database_name": job.database_name,
        "current_status": job.current_status,
        "protected": job.is_protected,
        "expected_at": serialize_next_expected(job, now),
        "schedule": job.schedule or None,
        "time_zone": job.time_zone if job.schedule else None,
        "last_checked_at": format_iso(job.last_checked_at),
        "last_success_at": format_iso(job.last_success_at),
        "last_verified_at": format_iso(job.last_verified_at),
        "proven": job.is_proven,
        "proven_at": format_iso(job.proven_at),
        "is_active": job.is_active,
        "paused_until": format_iso(job.paused_until),
    }


def serialize_next_expected(job: ExpectedBackupJob, now: datetime) -> str | None:
    """Return the next expected time, or None for unknown weekdays, which must not break the list."""
    try:
        return format_iso_seconds(next_expected_time(job.timetable, now))
    except ValueError:
        return None


def serialize_entry(entry: BackupEntry) -> dict[str, Any]:
    return {
        "id": entry.pk,
        "cycle_at": format_iso_seconds(entry.cycle_at),
        "status": entry.status,
        "first_status": entry.first_status,
        "late": entry.late,
        "message": entry.message,
        "warnings": entry.warnings,
        "agent_sha256": entry.agent_sha256 or None,
        "agent_size": entry.agent_size,
        "server_sha256": entry.server_sha256 or None,
        "server_size": entry.server_size,
        "report_name": entry.report_name or None,
        "promotion": entry.promotion,
    }
