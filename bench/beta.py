"""The beta report in every format, the intake of feedback, and what operators read, with 50,000 pieces of feedback."""

from __future__ import annotations

import itertools
import random
import uuid
from collections.abc import Iterator
from typing import Any

from bench.calls import bare
from bench.figures import Figure, median, show
from bench.load import Address, latency_figure, rates_in_turn, request_bytes
from bench.monitoring import DAY, add_rollups, page_bytes
from bench.server import sign_in_operator
from bench.usage import execute

FEEDBACK, PARTICIPANTS, TARGETS, DAYS = 50_000, 2_000, 10, 365
PROGRAMME = "bench-beta"
CALLS, LONG_CALLS = 30, 10
ROUNDS, SECONDS = 5, 2.0
YEAR = [("day", DAY, DAYS * DAY, 2_880)]
# One in ten is a bug, of which one in fifty is grave and open; three of four give a score.
SAID = f"""
INSERT INTO monitoring_betafeedback (feedback_id, programme_id, participant, type, severity, nps_score, comment, page,
  app_version, source, given_at, received_at, digest, status, fix_version)
SELECT gen_random_uuid(), @programme, 'person-' || n * 7919 % {PARTICIPANTS} || '@example.org',
       (ARRAY['bug', 'ux', 'ux', 'ux', 'feature', 'feature', 'other', 'other', 'other', 'other'])[1 + n % 10],
       CASE WHEN n % 10 > 0 THEN '' ELSE (ARRAY['critical', 'high', 'medium', 'low', ''])[1 + n / 10 % 5] END,
       CASE WHEN n % 4 > 0 THEN 4 + n * 31 % 7 END,
       repeat('The list of documents could be a little calmer than it is. ', 1 + n % 7), '/page/' || n % 40,
       '6.' || n % 5, 'client:app' || n % 5, at, at, '',
       CASE WHEN n % 50 > 0 THEN 'fixed' WHEN n % 100 > 0 THEN 'planned' ELSE 'open' END, ''
  FROM (SELECT n, now() - (@rows - n) * interval '{DAYS} days' / @rows AS at FROM generate_series(1, @rows) n) AS said;
"""


def measure(address: Address) -> Iterator[Figure]:
    # Imported late: Django's models exist only once the server's settings do.
    from portal.access.tokens.issuing import issue_token  # noqa: PLC0415

    programme = create_programme()
    token, session = sign_in_operator("beta")
    yield from reports(address, token)
    yield from measure_pages(address, programme, session)
    yield from measure_intake(address, issue_token("client", label="beta", actor="bench")[1])


def create_programme() -> Any:
    """Create a programme of a year, with targets that were checked every 30 seconds."""
    from django.utils import timezone  # noqa: PLC0415

    from beta.models import BetaProgramme  # noqa: PLC0415
    from monitoring.models import Target  # noqa: PLC0415

    now = timezone.now()
    programme = BetaProgramme.objects.create(name=PROGRAMME, starts=timezone.localdate(now) - DAYS * DAY)
    fields = {"url": "https://api.example.org/", "state": "up", "last_check_at": now}
    targets = Target.objects.bulk_create(Target(name=f"Beta {n}", **fields) for n in range(TARGETS))
    programme.targets.set(targets)
    add_rollups(targets, YEAR, now, random.Random(6))
    execute(SAID.replace("@rows", str(FEEDBACK)).replace("@programme", str(programme.pk)))
    execute("VACUUM ANALYZE")
    return programme


def reports(address: Address, token: str) -> Iterator[Figure]:
    for form, limit in (("json", 500), ("txt", 500), ("csv", 500), ("xlsx", 500), ("pdf", 3_000)):
        request = request_bytes("GET", f"/api/v1/beta/report?programme={PROGRAMME}&format={form}", token)
        calls = LONG_CALLS if form == "pdf" else CALLS
        yield latency_figure(address, f"beta report over {FEEDBACK} rows, {form}, p95", request, calls, limit)


def measure_pages(address: Address, programme: Any, session: str) -> Iterator[Figure]:
    """Measure the page of a programme, which makes its report anew."""
    newest = programme.feedback.latest("pk").pk
    bugs = f"?programme={programme.pk}&type=bug&severity=high&status=unsettled"
    shown = {
        "the list of feedback": ("betafeedback/", 100),
        "the open bugs of a programme": (f"betafeedback/{bugs}", 100),
        "the feedback of a participant": ("betafeedback/?q=person-7@example.org", 100),
        "the page of feedback": (f"betafeedback/{newest}/change/", 100),
        "the list of programmes": ("betaprogramme/", 100),
        "the page of a programme": (f"betaprogramme/{programme.pk}/change/", 500),
    }
    for name, (path, limit) in shown.items():
        yield latency_figure(address, f"{name}, p95", page_bytes(f"/admin/beta/{path}", session), CALLS, limit)
    yield latency_figure(address, "the landing page with a beta, p95", page_bytes("/admin/", session), CALLS, 100)
    request = request_bytes("GET", f"/feedback/{programme.public_key}")
    yield latency_figure(address, "the page for feedback, p95", request, CALLS, 100)


def measure_intake(address: Address, token: str) -> Iterator[Figure]:
    """Measure feedback sent with a token; public keys are rate limited."""

    def sent(client: int) -> Iterator[bytes]:
        return (request_bytes("POST", "/api/v1/beta/feedback", token, feedback(client)) for _ in itertools.count())

    rounds = rates_in_turn(address, [(bare, 200), (sent, 201)], ROUNDS, SECONDS)
    plain, taken = (median(column) for column in zip(*rounds, strict=True))
    ratio = median(taken / plain for plain, taken in rounds)
    yield show(Figure("feedback / bare view", ratio, 0.15, True, "x", f"{taken:.0f}/s, bare {plain:.0f}/s"))


def feedback(client: int) -> dict[str, Any]:
    return {
        "id": uuid.uuid4().hex, "programme": PROGRAMME, "participant": f"Carol-{client}@example.org",
        "type": "bug", "severity": "high", "nps_score": 6, "comment": "Scoring stops at the third document.",
        "page": "/scoring", "app_version": "6.0.3", "given_at": "2026-03-10T09:20:00Z",
    }  # fmt: skip
