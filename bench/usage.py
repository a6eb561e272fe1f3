"""Tracking, the guardian's summary, and what operators read and export of a million or ten million runs."""

from __future__ import annotations

import contextlib
import http.client
import time
from collections.abc import Iterator
from typing import Any

from bench import tracking
from bench.figures import Figure, show
from bench.load import Address, latencies, latency_figure, request_bytes
from bench.monitoring import page_bytes
from bench.processes import growth_of_servers
from bench.server import sign_in_operator

FEATURES, RUNS, FULL_RUNS, LICENCES, DAYS = 1_000_000, 1_000_000, 10_000_000, 500, 364
EXPORTED = 1_000_000
CALLS, LONG_CALLS = 100, 5
CHUNK = 1 << 20
NO_LIMIT = float("inf")

# A day of an installation: 300 people, 2,000 machines, 5 applications; one request in a hundred fails.
WHO = """CASE WHEN n % 10 < 3 THEN 'user' || (n * 7919 % 300) || '@example.org'
              WHEN n % 10 < 9 THEN 'agent:PC-' || (n * 7919 % 2000) ELSE 'client:app' || n % 5 END"""
ACTIVITY = f"""
INSERT INTO usage_featureusage (user_email, source, feature_name, endpoint, timestamp, success, duration_ms)
SELECT {WHO}, 'portal', 'feature-' || (n * 31 % 60), '/api/v1/route/' || (n * 31 % 60),
       now() - n * interval '1 day' / @rows, n % 100 > 0, n % 400 FROM generate_series(1::bigint, @rows) n;
INSERT INTO usage_usererror
  (user_email, source, endpoint, method, error_type, error_code, error_message, stack, timestamp)
SELECT {WHO}, 'portal', '/api/v1/route/' || n % 60, 'GET', 'not_found', (ARRAY[400, 404, 500])[1 + n / 100 % 3],
       'No such address.', '[]', now() - n * interval '1 day' / @rows
  FROM generate_series(100::bigint, @rows, 100) n;
INSERT INTO usage_usersession
  (user_email, source, session_start, session_end, duration_seconds, ip, user_agent)
SELECT 'user' || n % 300 || '@example.org', 'portal', now() - n * interval '1 day' / 1500,
       CASE WHEN n % 3 = 0 THEN now() - n * interval '1 day' / 1500 + interval '20 minutes' END,
       CASE WHEN n % 3 = 0 THEN 1200 END, '192.0.2.0/24', 'Firefox 131, Linux' FROM generate_series(1, 1500) n;
"""
# Five days a week, half of the licences in the mornings and half in the afternoons.
# A licence has one application, and a new version of it each quarter.
WORKED = f"""
INSERT INTO usage_licence (ref, customer, monthly_page_quota, period_day, told_percent, first_seen_at, last_run_at)
SELECT 'LIC-' || n, CASE WHEN n % 10 > 0 THEN 'Customer ' || n % 180 ELSE '' END, 1500000, 1 + n % 28, 0,
       now() - interval '{DAYS} days', now() FROM generate_series(0, {LICENCES - 1}) n;
INSERT INTO usage_run (run_id, license_ref, machine_id, app_name, app_version, document_count, succeeded_count,
  failed_count, total_pages, documents, received_at, hour, dropped_keys, over_quota, reported_by, digest)
SELECT gen_random_uuid(), 'LIC-' || licence, @machine, 'app' || licence % 3,
       '6.' || extract(quarter FROM at), 10, 10 - (n % 97 = 0)::int, (n % 97 = 0)::int, 120, '[]', at,
       date_trunc('hour', at, 'UTC'), 0, n % 1000 = 0, 'client:app', '' FROM (
    SELECT n, n * 7919 % {LICENCES} AS licence,
           date_trunc('day', now(), 'UTC') - (1 + day / 5 * 7 + day % 5) * interval '1 day'
             + (8 + n * 7919 % 2 * 4) * interval '1 hour' + (n % 14400) * interval '1 second' AS at
      FROM (SELECT n, n * {DAYS // 7 * 5} / @rows AS day FROM generate_series(0::bigint, @rows - 1) n) AS numbered
) AS worked ORDER BY at;
"""


def measure(address: Address, runs: int) -> Iterator[Figure]:
    token, session = sign_in_operator("usage")
    yield from tracking.measure()
    yield from summaries(address, token)
    fill_runs(runs)
    yield rebuilt(runs)
    yield from pages(address, session)
    yield from exported(address, token)


# --- The guardian ----------------------------------------------------------------------------------------------------


def summaries(address: Address, token: str) -> Iterator[Figure]:
    execute(ACTIVITY.replace("@rows", str(FEATURES)))
    execute("VACUUM ANALYZE")
    for hours, calls, limit in ((2, 30, 300), (24, LONG_CALLS, NO_LIMIT), (720, LONG_CALLS, NO_LIMIT)):
        request = request_bytes("GET", f"/api/v1/usage/summary?hours={hours}", token)
        name = f"GET usage/summary?hours={hours}, {FEATURES} uses a day, p95"
        yield latency_figure(address, name, request, calls, limit)


# --- Runs ------------------------------------------------------------------------------------------------------------


def fill_runs(runs: int, machine: str = "'PC-' || n % 2000") -> None:
    """Insert runs without their indexes: keeping eight of them takes longer than making them anew.

    `machine` is an expression of n, the number of the run. The table is not logged: it is read only.
    """
    begun = time.perf_counter()
    execute("ALTER TABLE usage_run SET UNLOGGED")
    execute("SET work_mem = '256MB'")
    with without_indexes("usage_run"):
        execute(WORKED.replace("@rows", str(runs)).replace("@machine", machine))
    execute("RESET work_mem")
    execute("VACUUM ANALYZE")
    print(f"{runs} runs were made in {time.perf_counter() - begun:.0f} s")


@contextlib.contextmanager
def without_indexes(table: str) -> Iterator[None]:
    query = f"""SELECT indexrelid::regclass::text, pg_get_indexdef(indexrelid) FROM pg_index
                LEFT JOIN pg_constraint ON conindid = indexrelid
                WHERE indrelid = '{table}'::regclass AND conindid IS NULL"""
    indexes = execute(query)
    for name, _ in indexes:
        execute(f"DROP INDEX {name}")
    yield
    execute("SET maintenance_work_mem = '512MB'")
    for _, definition in indexes:
        execute(definition)


def rebuilt(runs: int) -> Figure:
    from usage import rollups  # noqa: PLC0415
    from usage.models import RunRollup  # noqa: PLC0415

    begun = time.perf_counter()
    rollups.rebuild(None, None, lambda hour, count: None)
    seconds = time.perf_counter() - begun
    execute("VACUUM ANALYZE usage_runrollup")
    note = f"{RunRollup.objects.count()} rollups, {runs / seconds:.0f} runs/s"
    return show(Figure(f"rebuild of the rollups of {runs} runs", seconds, NO_LIMIT, False, "s", note))


def pages(address: Address, session: str) -> Iterator[Figure]:
    from usage.models import Licence, Run  # noqa: PLC0415

    licence, run = Licence.objects.get(ref="LIC-7").pk, Run.objects.latest("pk").pk
    shown = {
        "the page of a licence": f"licence/{licence}/change/",
        "the list of licences": "licence/",
        "the list of runs": "run/",
        "the list of runs that failed": "run/?outcome=failures",
        "the runs of a licence": "run/?q=LIC-7",
        "the page of a run": f"run/{run}/change/",
        "usage over 30 days": "run/dashboard/",
        "usage over a year": "run/dashboard/?days=364",
    }
    for name, path in shown.items():
        request = page_bytes(f"/admin/usage/{path}", session)
        first = [latencies(address, iter([request]))[0] for _ in range(2)]  # each worker adds up for itself
        yield latency_figure(address, f"{name}, p95", request, CALLS, 100, f"first {max(first):.0f} ms")
    request = page_bytes("/admin/", session)
    yield latency_figure(address, "the landing page, p95", request, CALLS, 100)


# --- An export -------------------------------------------------------------------------------------------------------


def exported(address: Address, token: str) -> Iterator[Figure]:
    from usage.models import Run  # noqa: PLC0415

    hours = Run.objects.order_by("-hour").values_list("hour", flat=True)
    since = hours[min(EXPORTED, Run.objects.count()) - 1]
    rows = Run.objects.filter(hour__gte=since).count()
    for form in ("csv", "json"):
        path = f"/api/v1/usage/export?from={since:%Y-%m-%dT%H:%M:%SZ}&format={form}"
        grown = growth_of_servers()
        begun, (size, lines) = time.perf_counter(), read(address, path, token)
        seconds = time.perf_counter() - begun
        note = f"{size / 1e6:.0f} MB, {rows / seconds:.0f} rows/s"
        if form == "csv" and lines != rows + 1:
            raise RuntimeError(f"{lines} lines came, expected {rows + 1}")
        name = f"memory that an export of {rows} runs takes, {form}"
        yield show(Figure(name, grown() / 1e6, 100, False, "MB", note))


def read(address: Address, path: str, token: str) -> tuple[int, int]:
    """Bytes and lines of the answer, which is kept nowhere."""
    connection = http.client.HTTPConnection(address.host, address.port, timeout=300)
    connection.request("GET", path, headers={"Authorization": f"Bearer {token}"})
    answer = connection.getresponse()
    if answer.status != 200:
        raise RuntimeError(f"answered {answer.status}, expected 200")
    size = lines = 0
    while chunk := answer.read(CHUNK):
        size, lines = size + len(chunk), lines + chunk.count(b"\n")
    connection.close()
    return size, lines


def execute(statement: str) -> list[Any]:
    """Rows of a SELECT."""
    from django.db import connection  # noqa: PLC0415

    with connection.cursor() as cursor:
        cursor.execute(statement)
        return cursor.fetchall() if cursor.description else []
