"""Rounds as the workers make them: claimed, probed, written down and told of, in the database."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

from bench.figures import Figure, percentile, show
from bench.load import Address
from bench.probes import allow_many_files, targets

WATCHED, INTERVAL, SECONDS = 3_300, 10, 20.0
DYING = 40
SWEPT, SWEEPS = 200, 3


def measure(_address: Address) -> Iterator[Figure]:
    allow_many_files()
    with targets() as served:
        populate(f"{served.base}/")
        run, seconds = timed_round()
        yield show(rate(run, seconds))
        yield show(delay())
        yield show(lateness())


def populate(url: str) -> None:
    """Targets that hold, each with a moment of its own, and a few whose port nobody listens at."""
    from django.utils import timezone  # noqa: PLC0415

    from monitoring.checks.pacing import next_due  # noqa: PLC0415
    from monitoring.models import Target  # noqa: PLC0415
    from portal.models import NotificationChannel  # noqa: PLC0415

    NotificationChannel.objects.create(name="bench", kind="email", addresses="ops@example.org")
    usual = {"interval": INTERVAL, "retries": 0, "failures_to_open": 1}
    rows = [Target(name=f"target {number}", url=url, **usual) for number in range(WATCHED)]
    rows += [Target(name=f"dead {number}", url="http://127.0.0.1:9/", **usual) for number in range(DYING)]
    Target.objects.bulk_create(rows)
    now = timezone.now() + timedelta(seconds=2)
    for row in rows:
        row.next_check_at = next_due(row.pk, INTERVAL, now)
    Target.objects.bulk_update(rows, ["next_check_at"], batch_size=500)


def timed_round() -> tuple[Any, float]:
    """Run a round of SECONDS; return it and the time it took in all."""
    from monitoring.checks import active_round  # noqa: PLC0415
    from monitoring.checks.connectivity import Connectivity  # noqa: PLC0415
    from monitoring.checks.worker_rounds import claim_until, take_lease  # noqa: PLC0415

    lease = take_lease(0)
    assert lease is not None
    with active_round.make_prober() as prober:
        run = active_round.ActiveRound(lease.fence, prober, Connectivity([], was_ever_online=False))
        begun = time.monotonic()
        claim_until(run, lease, SECONDS)
        lease.release()
        while not run.is_over():
            run.step(0.2)
        seconds = time.monotonic() - begun
        run.close()
    return run, seconds


def lateness() -> Figure:
    """Return how late checks start in a few sweeps as `beta_monitor` makes them."""
    from monitoring.checks import active_round, sweeps  # noqa: PLC0415
    from monitoring.checks.worker_rounds import take_lease  # noqa: PLC0415
    from monitoring.models import Target  # noqa: PLC0415

    chosen = Target.objects.exclude(url="http://127.0.0.1:9/").order_by("pk").values_list("pk", flat=True)[:SWEPT]
    Target.objects.exclude(pk__in=list(chosen)).update(is_active=False)
    late: list[float] = []
    with active_round.make_prober() as prober:
        for _ in range(SWEEPS):
            lease = take_lease(0)
            assert lease is not None
            sweep = sweeps.Sweep(active_round.ActiveRound(lease.fence, prober, active_round.make_connectivity()))
            while not sweep.is_over():
                lease.keep()
                sweep.step(sweeps.STEP_SECONDS)
            sweep.close()
            lease.release()
            late += sweep.run.tally.lateness
    value = 1000 * percentile(sorted(late), 0.99)
    note = f"{len(late)} checks; worst {1000 * max(late):.0f} ms"
    return Figure(f"lateness p99 of {SWEPT} targets in a sweep", value, 50, at_least=False, unit="ms", note=note)


def rate(run: Any, seconds: float) -> Figure:
    late = sorted(run.tally.lateness)
    note = f"of {WATCHED} targets every {INTERVAL} s; late p50 {1000 * percentile(late, 0.5):.0f} ms, "
    note += f"p99 {1000 * percentile(late, 0.99):.0f} ms"
    return Figure("checks a second, claimed and written down", len(late) / seconds, 300, at_least=True, note=note)


def delay() -> Figure:
    from monitoring.models import CheckResult  # noqa: PLC0415
    from portal.models import OutboxMessage  # noqa: PLC0415

    began = dict(CheckResult.objects.filter(error_kind="connect").order_by("-at").values_list("target__name", "at"))
    told = OutboxMessage.objects.filter(state="opened").values_list("title", "created_at")
    delays = [(at - began[title.removesuffix(" is down")]).total_seconds() for title, at in told]
    if len(delays) != DYING:
        raise RuntimeError(f"{len(delays)} messages of {DYING}")
    return Figure("from the deciding check to the queued message", max(delays), 1, False, "s", f"worst of {DYING}")
