"""GET fleet with a hundred thousand machines."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

from bench.figures import Figure
from bench.load import Address, latency_figure, request_bytes

MACHINES, CALLS = 100_000, 300


def measure(address: Address) -> Iterator[Figure]:
    # Imported late: Django's models exist only once the server's settings do.
    from django.contrib.auth.models import User  # noqa: PLC0415
    from django.db import connection  # noqa: PLC0415
    from django.utils import timezone  # noqa: PLC0415

    from agents.models import Agent  # noqa: PLC0415
    from portal.access.tokens.issuing import issue_token  # noqa: PLC0415

    now = timezone.now()
    machines = (
        Agent(
            machine_id=f"M-{n:06}",
            hostname=f"host-{n}",
            user_name=f"User {n}",
            user_email=f"user{n}@example.org",
            version=f"1.{n % 9}",
            status="uninstalled" if n % 20 == 0 else "active",
            enrolled_at=now - timedelta(seconds=n),
            last_seen_at=now - timedelta(minutes=n % 60),
        )
        for n in range(MACHINES)
    )
    Agent.objects.bulk_create(machines, batch_size=5_000)
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE")
    staff = issue_token("staff", user=User.objects.create_superuser("bench"), actor="bench")[1]
    queries = ["", "?status=active", "?status=uninstalled&limit=50", "?version=1.3", "?search=M-0777"]
    for query in queries:
        request = request_bytes("GET", f"/api/v1/agents/fleet{query}", staff)
        yield latency_figure(address, f"GET fleet{query} of {MACHINES}, p95", request, CALLS // len(queries), 150)
