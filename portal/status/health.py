"""Health checks: each part of the portal proves that it works by doing something, not by being there."""

import functools
import hmac
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

from django.conf import settings
from django.db import DatabaseError, connection
from django.db.migrations.loader import MigrationLoader
from django.db.migrations.recorder import MigrationRecorder
from django.db.models.functions import Now
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.utils import timezone
from prometheus_client import CONTENT_TYPE_PLAIN_0_0_4

from portal import __version__
from portal.access import rate_limits
from portal.access.tokens.authentication import bearer_text
from portal.api.errors import problem_response
from portal.base import disks
from portal.base.addresses import sender_network
from portal.base.problems import Problem
from portal.models import Heartbeat, TaskAttempt
from portal.status import metrics as measured
from portal.work.attempts import MARGIN
from portal.work.clusters import CLUSTERS, cluster_limits
from portal.work.processes import dead_processes

# A cluster is asked for a beat after 15 s of silence, the pulse beats every 5 s.
STALE_AFTER = dict.fromkeys(CLUSTERS, timedelta(seconds=60)) | {"pulse": timedelta(seconds=30)}
COMPONENTS = tuple(STALE_AFTER)


MigrationKey = tuple[str, str]
Word = Literal["ok", "unknown", "missing", "stale", "failed", "full"]


@dataclass(frozen=True)
class Check:
    """`word` is "ok" or what is wrong in one word, `text` says it in a sentence."""

    word: Word = "ok"
    text: str = ""
    since: datetime | None = None


OK = Check()
UNKNOWN = Check("unknown")


def health_checks(now: datetime) -> dict[str, Check]:
    """Check everything the portal needs in order to work."""
    try:
        missing = unapplied_migrations()
        if missing:
            lacking = Check("missing", f"The database lacks {len(missing)} migrations.")
            return {"database": OK, "disk": disk_check(), "migrations": lacking, **dict.fromkeys(COMPONENTS, UNKNOWN)}
        return {"database": OK, "disk": disk_check(), "migrations": OK, **heartbeat_checks(now)}
    except DatabaseError:
        failed = Check("failed", "The database does not answer.")
        return {"database": failed, "disk": disk_check(), **dict.fromkeys(["migrations", *COMPONENTS], UNKNOWN)}


def disk_check() -> Check:
    return Check("full", "The disk is full.") if disks.is_full() else OK


def unapplied_migrations() -> list[str]:
    """Return the migrations of this version that are not applied. Raises DatabaseError."""
    applied = MigrationRecorder(connection).applied_migrations().keys()
    return [
        ".".join(key)
        for key, replaced in own_migrations().items()
        if key not in applied and not (replaced and replaced <= applied)
    ]


def known_migrations() -> frozenset[MigrationKey]:
    """Return the migrations of this version, and those that they replace: an older database has applied these."""
    return frozenset(own_migrations()).union(*own_migrations().values())


@functools.cache
def own_migrations() -> Mapping[MigrationKey, frozenset[MigrationKey]]:
    """Return those that each migration of this version replaces.

    They are read from the disk once: a process never runs another version than the one it was started with.
    """
    disk = MigrationLoader(None).disk_migrations or {}
    return {key: frozenset(disk[key].replaces) for key in sorted(disk)}


def heartbeat_checks(now: datetime) -> dict[str, Check]:
    """Check the clusters and the pulse by their last heartbeat. A cluster whose workers are all busy needs none.

    Beats are written by the database's clock, so it is the one that tells their age.
    """
    rows = list(Heartbeat.objects.values_list("component", "at", Now()))
    now = rows[0][2] if rows else now
    seen = {component: at for component, at, _ in rows}
    busy = busy_clusters(now) if any(is_stale(name, seen.get(name), now) for name in CLUSTERS) else set()
    return {name: OK if name in busy else heartbeat_check(name, seen.get(name), now) for name in COMPONENTS}


def is_stale(component: str, at: datetime | None, now: datetime) -> bool:
    return at is None or now - at > STALE_AFTER[component]


def heartbeat_check(component: str, at: datetime | None, now: datetime) -> Check:
    if not is_stale(component, at, now):
        return OK
    if at is None:
        return Check("missing", f"{component} has never shown a sign of life.")
    return Check("stale", f"{component} has shown no sign of life for {round((now - at).total_seconds())} seconds.", at)


def busy_clusters(now: datetime) -> set[str]:
    """Return the clusters whose workers are all alive and at a task, none for longer than it may take."""
    busy: set[str] = set()
    for cluster in CLUSTERS:
        bounds = cluster_limits(cluster)
        running = TaskAttempt.objects.running(cluster).filter(started_at__gt=now - bounds.timeout - MARGIN)
        workers = list(running.values_list("worker", flat=True))
        if len(workers) - len(dead_processes(workers)) >= bounds.workers:
            busy.add(cluster)
    return busy


def healthz(request: HttpRequest) -> HttpResponse:
    """This process answers, and says its version. Nothing else is asked, the database least of all."""
    return JsonResponse({"status": "ok", "version": __version__})


def readyz(request: HttpRequest) -> HttpResponse:
    checks = health_checks(timezone.now())
    words = {name: check.word for name, check in checks.items()}
    wrong = " ".join(check.text for check in checks.values() if check.text)
    if wrong:
        code = "not_ready" if checks["disk"] is OK else "disk_full"
        problem = Problem(code, detail=wrong, extra={"checks": words}, headers={"Retry-After": "5"})
        return problem_response(problem, request)
    return JsonResponse({"status": "ready", "checks": words})


def metrics(request: HttpRequest) -> HttpResponse:
    token, address = bearer_text(request), sender_network(request.META.get("REMOTE_ADDR", ""))
    try:
        if token is None:
            raise Problem("not_authenticated")
        if not hmac.compare_digest(token.encode(), settings.METRICS_TOKEN.encode()):
            raise rate_limits.count_failure(Problem("invalid_token"), address)
        rate_limits.forget_failures(address)
        return HttpResponse(measured.render_metrics(timezone.now()), content_type=CONTENT_TYPE_PLAIN_0_0_4)
    except (Problem, DatabaseError) as error:
        return problem_response(error, request)
